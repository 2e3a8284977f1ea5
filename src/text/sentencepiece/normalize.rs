//! White space before a text is cut into pieces.

use super::model::Normalizer;
use super::vocabulary::Vocabulary;

/// Stands for a space within pieces.
pub(super) const SPACE: char = '\u{2581}';

impl Normalizer {
    /// The text with its spaces escaped and, by the model's options, one in front and none to spare.
    ///
    /// # Source
    /// SentencePiece `normalizer.cc`, `Normalize`, for the identity normaliser.
    pub(super) fn apply(&self, text: &str, vocabulary: &Vocabulary) -> String {
        let mut rest = if self.remove_extra_whitespaces { skip_spaces(text, vocabulary) } else { text };
        if rest.is_empty() {
            return String::new();
        }
        let space = if self.escape_whitespaces { SPACE } else { ' ' };
        let mut normal = String::with_capacity(rest.len() + rest.len() / 2 + 3);
        normal.extend(self.dummy_prefix.then_some(space));
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(part_length(rest, vocabulary));
            let kept = if after_space { part.trim_start_matches(' ') } else { part };
            normal.extend(kept.chars().map(|c| if c == ' ' { space } else { c }));
            if let Some(last) = kept.chars().next_back() {
                after_space = self.remove_extra_whitespaces && last == ' ';
            }
            rest = after;
        }
        if self.remove_extra_whitespaces {
            normal.truncate(normal.trim_end_matches(space).len());
        }
        normal
    }
}

fn skip_spaces<'t>(mut text: &'t str, vocabulary: &Vocabulary) -> &'t str {
    while text.starts_with(' ') && part_length(text, vocabulary) == 1 {
        text = &text[1..];
    }
    text
}

/// Length of what is taken as a whole: a user-defined piece or one character; 0 at the end.
fn part_length(text: &str, vocabulary: &Vocabulary) -> usize {
    let character = || text.chars().next().map_or(0, char::len_utf8);
    vocabulary.user_defined_prefix(text).unwrap_or_else(character)
}
