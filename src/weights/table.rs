//! A summary as it prints.
//!
//! ```text
//! share of the loss, %  token   pad  end_pad   all
//! text                   20.0  20.0     10.0  50.0
//! main.0                 49.5     .        .  49.5
//! main.1                  0.5     .        .   0.5
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::{Reason, Share, Summary};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &Share| format!("{:.1}", 100.0 * share.share);
        write!(f, "{}", self.by_reason("share of the loss, %", percent, |share| share.weight > 0.0))?;
        write!(f, "\n{}", self.by_reason("cells", |share| share.cells.to_string(), |share| share.cells > 0))?;
        writeln!(f, "\nexamples       {}", self.examples)?;
        if let Some(share) = self.pad_share {
            writeln!(f, "pads           {:.1} % of what text weighs in the loss", 100.0 * share)?;
        }
        if self.policy.learned_tails {
            writeln!(f, "learned tails  {:.2} % of the loss", 100.0 * self.learned_tails)?;
        }
        let regions: u64 = self.streams.iter().map(|stream| stream.regions).sum();
        if regions > 0 {
            writeln!(f, "in regions     {regions} cells")?;
        }
        for class in &self.nothing_to_learn {
            writeln!(f, "{:<14} nothing to learn: 0 in the loss", class.name())?;
        }
        for (stream, end) in self.streams.iter().filter_map(|stream| Some((stream, stream.end?))) {
            let what = format!("end of {}", stream.name);
            writeln!(f, "{what:<14} live in {} of {} examples", end.live, self.examples)?;
        }
        Ok(())
    }
}

impl Summary {
    /// A row for each stream and a column for each reason of which something is `there`.
    fn by_reason(&self, head: &str, show: impl Fn(&Share) -> String, there: impl Fn(&Share) -> bool) -> Table {
        let found = |reason: &Reason| self.streams.iter().any(|s| s.reasons.get(reason).is_some_and(&there));
        let reasons: Vec<Reason> = Reason::ALL.into_iter().filter(found).collect();
        let names = reasons.iter().map(|reason| reason.name()).chain(["all"]);
        let mut rows = vec![[head].into_iter().chain(names).map(String::from).collect()];
        let row = |name: &str, shares: &BTreeMap<Reason, Share>| {
            let cell = |reason| shares.get(reason).filter(|share| there(share)).map_or(".".into(), &show);
            let cells = reasons.iter().map(cell).chain([show(&all(shares.values()))]);
            [name.to_owned()].into_iter().chain(cells).collect::<Vec<String>>()
        };
        rows.extend(self.streams.iter().map(|stream| row(&stream.name, &stream.reasons)));
        Table(rows)
    }
}

fn all<'a>(shares: impl Iterator<Item = &'a Share>) -> Share {
    shares.fold(Share::default(), |all, share| Share {
        cells: all.cells + share.cells,
        weight: all.weight + share.weight,
        share: all.share + share.share,
    })
}

/// Cells in columns: names to the left, numbers to the right.
struct Table(Vec<Vec<String>>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for row in &self.0 {
            write!(f, "{:<width$}", row[0], width = width(0))?;
            for (column, cell) in row.iter().enumerate().skip(1) {
                write!(f, "  {cell:>width$}", width = width(column))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
