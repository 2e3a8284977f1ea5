//! `README.md`: the dataset in words, as Hugging Face's hub shows it and as `datasets` finds its parts by.
//!
//! ```text
//! ---
//! configs: ..          front matter: that the parts alone are rows, not the JSON beside them
//! ---
//! # Speech as tokens   what `dataset.json` says, for people
//! ```

use crate::io::dataset::{DatasetInfo, Identity};
use crate::stream::{Kind, Layout};

/// What the hub calls datasets of up to so many rows; all sizes but the outermost name both of their ends.
const SIZES: [(u64, &str); 10] = [
    (1_000, "1K"),
    (10_000, "10K"),
    (100_000, "100K"),
    (1_000_000, "1M"),
    (10_000_000, "10M"),
    (100_000_000, "100M"),
    (1_000_000_000, "1B"),
    (10_000_000_000, "10B"),
    (100_000_000_000, "100B"),
    (1_000_000_000_000, "1T"),
];

const LOADING: &str = r#"
## Loading

```python
import roundelay

dataset = roundelay.Dataset("path/of/this/folder")
segment = dataset[0]  # a dictionary: segment["codes"] is [stream, frame]
```

```python
import numpy as np
from datasets import load_dataset

rows = load_dataset("path/of/this/folder", split="train")  # all of them; the column `split` says which are held out
codes = np.array(rows[0]["codes"])  # [stream, frame]
```

Column t of `codes` is frame t of every stream: delays are applied on reading. -1 is absent.
"#;

/// The card of a dataset: a function of what its description and layout say.
pub(in crate::io) fn card(info: &DatasetInfo, layout: &Layout) -> String {
    let mut text = front_matter(info);
    text += &format!("\n# Speech as tokens, layout {}\n\n", escaped(layout.name()));
    text += "Recordings of speech as one grid of integers each: a row for each stream of text or of an audio codec, a \
             column for each frame. Segments are the rows of the Parquet parts; `layout.json` says what each stream is, \
             `dataset.json` how they were made, `events.jsonl` and `rejects.jsonl` what did not go straight through.\n";
    text += "\n| | |\n| --- | --- |\n";
    for (what, value) in rows(info, layout) {
        text += &format!("| {what} | {value} |\n");
    }
    if !info.events.is_empty() {
        text += "\n| event | times | tokens or frames |\n| --- | ---: | ---: |\n";
        for (kind, count) in info.events.iter() {
            text += &format!("| `{}` | {} | {} |\n", kind.name(), count.events, count.amount);
        }
    }
    text + LOADING
}

/// Holds nothing of the user's: what is fixed needs no escapes of YAML's.
fn front_matter(info: &DatasetInfo) -> String {
    format!(
        "---\npretty_name: Speech as tokens\ntags:\n- audio\n- speech\n- codec-tokens\n- roundelay\n\
         size_categories:\n- {}\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    \
         path: part-*.parquet\n---\n",
        size(info.counts.segments)
    )
}

fn size(rows: u64) -> String {
    match SIZES.iter().position(|(end, _)| rows < *end) {
        Some(0) => format!("n<{}", SIZES[0].1),
        Some(n) => format!("{}<n<{}", SIZES[n - 1].1, SIZES[n].1),
        None => format!("n>{}", SIZES[SIZES.len() - 1].1),
    }
}

fn rows(info: &DatasetInfo, layout: &Layout) -> Vec<(&'static str, String)> {
    let streams = layout.streams();
    let number = |kind| streams.iter().filter(|stream| stream.kind == kind).count();
    let (texts, semantic, acoustic) = (number(Kind::Text), number(Kind::Semantic), number(Kind::Acoustic));
    let delays: Vec<_> = streams.iter().map(|stream| stream.delay.to_string()).collect();
    let counts = &info.counts;
    let mut rows = vec![
        ("layout", escaped(layout.name())),
        ("streams", format!("{}: {texts} text, {semantic} semantic, {acoustic} acoustic", streams.len())),
        ("frames a second", layout.frame_rate().to_string()),
        ("delays in frames", delays.join(" ")),
        ("codec", identity(&info.codec)),
        ("tokenizer", info.tokenizer.as_ref().map_or("none".to_owned(), identity)),
        ("recordings", counts.recordings.to_string()),
        ("segments", counts.segments.to_string()),
        ("hours", format!("{:.3}", counts.seconds.to_f64() / 3600.0)),
        ("frames", counts.frames.to_string()),
    ];
    let cells = texts as u64 * counts.frames;
    // Nobody counted them where there are none: no text is without a pad.
    if cells > 0 && counts.text_pads > 0 {
        rows.push(("pads in text", format!("{:.1} %", 100.0 * counts.text_pads as f64 / cells as f64)));
    }
    rows.push(("recordings that could not be used", counts.rejects.to_string()));
    rows.extend(info.shard.as_ref().map(|shard| ("shard", shard.shard.to_string())));
    rows.push(("written by", escaped(&info.tool)));
    rows
}

fn identity(identity: &Identity) -> String {
    let sha256 = identity.sha256.as_ref().map_or(String::new(), |sha256| format!(", SHA-256 {}", escaped(sha256)));
    format!("{}{sha256}", escaped(&identity.name))
}

/// Text that Markdown shows as it is, in a heading and in a table's cell.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_control() => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '$' | '&' | '#' => {
                escaped.extend(['\\', letter]);
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Event, EventKind};

    fn info(layout: &Layout) -> DatasetInfo {
        let codec = Identity { name: "builtin-1".into(), sha256: Some("ab12".into()) };
        let tokenizer = Identity { name: "a_b|c.model".into(), sha256: None };
        let mut info = DatasetInfo::new(layout, codec, Some(tokenizer));
        info.tool = "roundelay 1".into();
        info.counts.recordings = 4;
        info.counts.segments = 12;
        info.counts.frames = 1000;
        info.counts.text_pads = 655;
        info.counts.seconds = "90".parse().unwrap();
        info.counts.rejects = 1;
        info.events.add(&Event::new(EventKind::Cut, 3));
        info
    }

    #[test]
    fn the_card_says_what_the_description_says() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let card = card(&info(&layout), &layout);
        let head = "---\npretty_name: Speech as tokens\ntags:\n- audio\n- speech\n- codec-tokens\n- roundelay\n\
                    size_categories:\n- n<1K\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    \
                    path: part-*.parquet\n---\n\n# Speech as tokens, layout moshi-7b\n\n";
        assert!(card.starts_with(head), "{card}");
        let tables = "\n| | |\n| --- | --- |\n| layout | moshi-7b |\n\
                      | streams | 17: 1 text, 2 semantic, 14 acoustic |\n| frames a second | 12.5 |\n\
                      | delays in frames | 0 0 1 1 1 1 1 1 1 0 1 1 1 1 1 1 1 |\n| codec | builtin-1, SHA-256 ab12 |\n\
                      | tokenizer | a\\_b\\|c.model |\n| recordings | 4 |\n| segments | 12 |\n| hours | 0.025 |\n\
                      | frames | 1000 |\n| pads in text | 65.5 % |\n| recordings that could not be used | 1 |\n\
                      | written by | roundelay 1 |\n\n| event | times | tokens or frames |\n| --- | ---: | ---: |\n\
                      | `cut` | 1 | 3 |\n\n## Loading\n";
        assert!(card.contains(tables), "{card}");
        assert!(card.ends_with("-1 is absent.\n"), "{card}");
    }

    #[test]
    fn names_break_neither_table_nor_heading() {
        assert_eq!(escaped("a|b\n# c\\ <d> *e* é"), "a\\|b \\# c\\\\ \\<d\\> \\*e\\* é");
    }

    #[test]
    fn sizes_are_the_hubs() {
        let sizes = [0, 999, 1_000, 99_999, 1_000_000, 999_999_999_999, u64::MAX].map(size);
        assert_eq!(sizes, ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "1M<n<10M", "100B<n<1T", "n>1T"]);
    }
}
