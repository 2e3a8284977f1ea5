//! A recording of two speakers, seen from the other side.
//!
//! ```text
//! row       text        main.0  main.1   other.0  other.1
//! swapped   other's     other.0 other.1  main.0   main.1
//! ```

use crate::error::{Error, Result};
use crate::pipeline::speakers::main_speaker;
use crate::stream::{Layout, Stream};

/// Checks that a layout's two speakers can change sides.
///
/// # Errors
/// `Unsupported` if there are not two, or if a row of one has none like it of the other: of the same codebook, phase and
/// cardinality.
pub fn check_swap(layout: &Layout) -> Result<()> {
    Swap::new(layout).map(drop)
}

/// Which rows and which speakers change places.
pub(super) struct Swap<'a> {
    speakers: [&'a str; 2],
    /// For each row, the one that its codes come from; text rows are made anew.
    pub rows: Vec<usize>,
}

impl<'a> Swap<'a> {
    /// # Errors
    /// As [`check_swap`].
    pub fn new(layout: &'a Layout) -> Result<Self> {
        let unsupported =
            |detail: String| Error::unsupported(format!("swapping the speakers of layout {}", layout.name()), detail);
        let mut speakers = vec![main_speaker(layout).unwrap_or_default()];
        for stream in layout.streams() {
            if !speakers.contains(&stream.speaker.as_str()) {
                speakers.push(&stream.speaker);
            }
        }
        let Ok(speakers) = <[&str; 2]>::try_from(speakers.as_slice()) else {
            return Err(unsupported(format!("it has {} speakers, and two can change sides", speakers.len())));
        };
        let mut swap = Swap { speakers, rows: Vec::new() };
        for (k, stream) in layout.streams().iter().enumerate() {
            let row = if stream.kind.is_audio() { swap.row_like(layout, stream) } else { Some(k) };
            let detail = || format!("the other speaker has no row like {}", stream.name);
            swap.rows.push(row.ok_or_else(|| unsupported(detail()))?);
        }
        Ok(swap)
    }

    /// The speaker on the other side.
    pub fn partner(&self, speaker: &str) -> &'a str {
        self.speakers[usize::from(speaker == self.speakers[0])]
    }

    /// The row of the other speaker that holds the same codebook.
    fn row_like(&self, layout: &Layout, own: &Stream) -> Option<usize> {
        let partner = self.partner(&own.speaker);
        let key = |stream: &Stream| (stream.level, stream.phase, stream.cardinality);
        let like = |stream: &Stream| stream.kind.is_audio() && stream.speaker == partner && key(stream) == key(own);
        layout.streams().iter().position(like)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_published_layouts_have_two_sides() {
        let two: Vec<_> = Layout::presets().filter(|name| check_swap(&Layout::preset(name).unwrap()).is_ok()).collect();
        let expected =
            ["moshi-7b", "moshi-7b-pretrain", "moshi-2b", "j-moshi", "hibiki", "musicgen-stereo", "personaplex"];
        assert_eq!(two, expected);
        let refusal = |json: String| check_swap(&Layout::from_json(&json).unwrap()).unwrap_err().to_string();
        let json = |name: &str| Layout::preset(name).unwrap().to_json();
        assert_eq!(
            refusal(json("delay-1")),
            "swapping the speakers of layout delay-1 is not supported: it has 1 speakers, and two can change sides"
        );
        let moshi = json("moshi-7b");
        let line = moshi.lines().find(|line| line.contains("\"other.7\"")).unwrap();
        let shorter = moshi.replace(&format!(",\n{line}"), "");
        assert!(refusal(shorter).ends_with("the other speaker has no row like main.7"));
        let narrower = moshi.replace(line, &line.replace("\"cardinality\":2048", "\"cardinality\":1024"));
        assert!(refusal(narrower).ends_with("the other speaker has no row like main.7"));
        let third = moshi.replace(line, &line.replace("\"speaker\":\"other\"", "\"speaker\":\"third\""));
        assert!(refusal(third).contains("it has 3 speakers"));
    }

    #[test]
    fn rows_go_by_codebook_and_back() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let swap = Swap::new(&layout).unwrap();
        assert_eq!(swap.rows, [0, 9, 10, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((swap.partner("main"), swap.partner("other")), ("other", "main"));
    }
}
