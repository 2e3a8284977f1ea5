//! What is done to a text before it is cut into pieces: characters are replaced, white space is escaped.
//!
//! ```text
//! "  ﬁve  m²"  ->  five m2  ->  ▁five▁m2
//! ```

use super::model::Normalizer;
use super::trie::Trie;

/// Stands for a space within pieces.
pub(super) const SPACE: char = '\u{2581}';

impl Normalizer {
    /// Adds to `normal` the text with its characters replaced, its spaces escaped and, by the model's options, one in front and none to
    /// spare. User-defined pieces are left as they are.
    ///
    /// Spaces are taken away after the replacement, so those that it brings count; but only those that a replacement
    /// begins with, and those at the very end: ` ` within one stay.
    ///
    /// # Source
    /// SentencePiece `normalizer.cc`, `Normalize`.
    pub(super) fn apply(&self, text: &str, user_defined: Option<&Trie>, normal: &mut String) {
        let mut rest = if self.remove_extra_whitespaces { self.skip_spaces(text, user_defined) } else { text };
        if rest.is_empty() {
            return;
        }
        let space = if self.escape_whitespaces { SPACE } else { ' ' };
        normal.reserve(rest.len() + rest.len() / 2 + 3);
        normal.extend(self.dummy_prefix.then_some(space));
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (part, length) = self.first(rest, user_defined);
            let kept = if after_space { part.trim_start_matches(' ') } else { part };
            push_escaped(normal, kept, space);
            if let Some(last) = kept.chars().next_back() {
                after_space = self.remove_extra_whitespaces && last == ' ';
            }
            rest = &rest[length..];
        }
        if self.remove_extra_whitespaces {
            normal.truncate(normal.trim_end_matches(space).len());
        }
    }

    fn skip_spaces<'t>(&self, mut text: &'t str, user_defined: Option<&Trie>) -> &'t str {
        while let (" ", length) = self.first(text, user_defined) {
            text = &text[length..];
        }
        text
    }

    /// What the beginning of `text` becomes, and how much of it: a user-defined piece or a single character as it is,
    /// or the longest key of the map; without either, all up to the next space. Nothing of an empty text.
    fn first<'t>(&'t self, text: &'t str, user_defined: Option<&Trie>) -> (&'t str, usize) {
        if let Some(length) = user_defined.and_then(|pieces| pieces.longest(text)) {
            return (&text[..length], length);
        }
        if let Some((length, normalised)) = self.charsmap.as_ref().and_then(|map| map.longest(text)) {
            return (normalised, length);
        }
        let plain = user_defined.is_none() && self.charsmap.is_none() && !text.starts_with(' ');
        let length = match plain {
            true => text.find(' ').unwrap_or(text.len()),
            false => text.chars().next().map_or(0, char::len_utf8),
        };
        (&text[..length], length)
    }
}

fn push_escaped(normal: &mut String, text: &str, space: char) {
    for (index, part) in text.split(' ').enumerate() {
        normal.extend((index > 0).then_some(space));
        normal.push_str(part);
    }
}
