//! A learning curve, drawn.
//!
//! ```text
//! words      8.9712 ─ █▇▆▅▃▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁ ─ 0.0312
//! semantic   7.6246 ─ █▇▇▆▅▄▂▁▁▁▁▁▁▁▁▁▁▁▁▁ ─ 0.0481
//! ```

use std::fmt;

use crate::batch::Split;
use crate::io::Point;

/// Bars of a curve: the mean of what falls into each, in eighths of the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const COLUMNS: usize = 40;

/// The points of a run, which print as one line for each kind of label: nats at the begin, the way down, nats at the end.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a>(pub &'a [Point]);

impl fmt::Display for Curve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (split, of) in [(Split::Train, ""), (Split::Valid, "valid ")] {
            let of_split = || self.0.iter().filter(move |point| point.split == split);
            line(f, &format!("{of}words"), of_split().filter_map(|point| point.words).collect())?;
            line(f, &format!("{of}pads"), of_split().filter_map(|point| point.pads).collect())?;
            line(f, &format!("{of}semantic"), of_split().filter_map(|point| point.semantic).collect())?;
            line(f, &format!("{of}acoustic"), of_split().filter_map(|point| point.acoustic).collect())?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, values: Vec<f64>) -> fmt::Result {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return Ok(()) };
    writeln!(f, "{name:<15} {first:>8.4}  {}  {last:<8.4}", bars(&values))
}

fn bars(values: &[f64]) -> String {
    let columns = values.len().min(COLUMNS);
    let column = |n: usize| &values[n * values.len() / columns..(n + 1) * values.len() / columns];
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<f64> = (0..columns).map(|n| mean(column(n))).collect();
    let most = means.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    means.iter().map(|mean| BARS[((mean / most * 8.0).ceil() as usize).clamp(1, 8) - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_the_values() {
        assert_eq!(bars(&[8.0, 4.0, 2.0, 0.0]), "█▄▂▁");
        assert_eq!(bars(&vec![1.0; 100]).chars().count(), COLUMNS);
        assert_eq!(bars(&[0.0]), "▁");
    }
}
