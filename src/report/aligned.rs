//! Tables for people: cells under each other, times and shares with their units.

use std::fmt;

use crate::units::Seconds;

/// Lines of cells: the first column to the left, the others to the right.
pub fn write_aligned(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in table {
        write!(f, "{:<1$}", line[0], widths[0])?;
        line.iter().zip(&widths).skip(1).try_for_each(|(cell, width)| write!(f, "  {cell:>width$}"))?;
        writeln!(f)?;
    }
    Ok(())
}

pub fn seconds(length: Option<Seconds>) -> String {
    length.map_or("-".to_owned(), |length| format!("{:.2} s", length.to_f64()))
}

pub fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}
