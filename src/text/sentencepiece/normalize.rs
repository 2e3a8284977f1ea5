//! What is done to a text before it is cut into pieces: characters are replaced, white space is escaped.
//!
//! ```text
//! "  ﬁve  m²"  ->  five m2  ->  ▁five▁m2
//! ```

use super::model::Normalizer;

/// Stands for a space within pieces.
pub(super) const SPACE: char = '\u{2581}';

impl Normalizer {
    /// The text with its characters replaced, its spaces escaped and, by the model's options, one in front and none to
    /// spare. `whole` gives the length of what is left as it is at the beginning of a text: a user-defined piece.
    ///
    /// Spaces are taken away after the replacement, so those that it brings count; but only those that a replacement
    /// begins with, and those at the very end: ` ` within one stay.
    ///
    /// # Source
    /// SentencePiece `normalizer.cc`, `Normalize`.
    pub(super) fn apply(&self, text: &str, whole: impl Fn(&str) -> Option<usize>) -> String {
        let mut rest = if self.remove_extra_whitespaces { self.skip_spaces(text, &whole) } else { text };
        if rest.is_empty() {
            return String::new();
        }
        let space = if self.escape_whitespaces { SPACE } else { ' ' };
        let mut normal = String::with_capacity(rest.len() + rest.len() / 2 + 3);
        normal.extend(self.dummy_prefix.then_some(space));
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (part, length) = self.first(rest, &whole);
            let kept = if after_space { part.trim_start_matches(' ') } else { part };
            normal.extend(kept.chars().map(|c| if c == ' ' { space } else { c }));
            if let Some(last) = kept.chars().next_back() {
                after_space = self.remove_extra_whitespaces && last == ' ';
            }
            rest = &rest[length..];
        }
        if self.remove_extra_whitespaces {
            normal.truncate(normal.trim_end_matches(space).len());
        }
        normal
    }

    fn skip_spaces<'t>(&self, mut text: &'t str, whole: &impl Fn(&str) -> Option<usize>) -> &'t str {
        while let (" ", length) = self.first(text, whole) {
            text = &text[length..];
        }
        text
    }

    /// What the beginning of `text` becomes, and how much of it: a user-defined piece or a single character as it is,
    /// or the longest key of the map. Nothing of an empty text.
    fn first<'t>(&'t self, text: &'t str, whole: &impl Fn(&str) -> Option<usize>) -> (&'t str, usize) {
        if let Some(length) = whole(text) {
            return (&text[..length], length);
        }
        if let Some((length, normalised)) = self.charsmap.as_ref().and_then(|map| map.longest(text)) {
            return (normalised, length);
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }
}
