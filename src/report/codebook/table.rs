//! The figures as a table for people.
//!
//! ```text
//! codebook  codes  absent      used  dead  perplexity  entropy   gini  mean  deviation  least      most
//! main.0      675       0  334/2048  1714      195.26     7.61  0.907  0.33       1.65  0 (0)  616 (47)
//! ```

use std::fmt;

use super::figures::{CodeUse, CodebookStatistics, CodebookUse, UseFigures};
use crate::codebook::{Count, Threshold};
use crate::report::aligned::write_aligned;

/// A table of the counts, and one of the moving averages if there are any.
impl fmt::Display for CodebookStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} segments of the layout {}, codes of {}\n", self.segments, self.layout, self.codec)?;
        write_aligned(f, &table(self.codebooks.iter().map(|codebook| line(codebook, &codebook.counted))))?;
        if let Some(decay) = self.ema_decay {
            writeln!(f, "\nlately, {decay} of the average kept at each segment\n")?;
            let averages = self.codebooks.iter().filter_map(|codebook| Some(line(codebook, codebook.ema.as_ref()?)));
            write_aligned(f, &table(averages))?;
        }
        write!(f, "\nentropy: bits; gini: 0 where all codes occur alike, near 1 where few have everything;\n")?;
        write!(f, "mean and deviation of a code's count; least and most: code (count); dead: {}", below(self.dead))
    }
}

fn table(lines: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let head = [
        "codebook",
        "codes",
        "absent",
        "used",
        "dead",
        "perplexity",
        "entropy",
        "gini",
        "mean",
        "deviation",
        "least",
        "most",
    ];
    std::iter::once(head.map(str::to_owned).to_vec()).chain(lines).collect()
}

fn line<C: Count>(codebook: &CodebookUse, figures: &UseFigures<C>) -> Vec<String> {
    // Counts are whole numbers, which heed no precision; averages do.
    let number = |value: Option<f64>, digits| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let code = |code: &Option<CodeUse<C>>| {
        code.as_ref().map_or("-".to_owned(), |found| format!("{} ({:.4})", found.code, found.count))
    };
    vec![
        codebook.codebook.clone(),
        format!("{:.2}", figures.total),
        codebook.absent.to_string(),
        format!("{}/{}", figures.used, codebook.cardinality),
        figures.dead.map_or("-".to_owned(), |dead| dead.to_string()),
        number(figures.perplexity, 2),
        number(figures.entropy_bits, 2),
        number(figures.gini, 3),
        number(Some(figures.mean), 2),
        number(Some(figures.deviation), 2),
        code(&figures.least),
        code(&figures.most),
    ]
}

fn below(dead: Threshold) -> String {
    match dead {
        Threshold::Count(count) => format!("below a count of {count}"),
        Threshold::Share(share) => format!("below a share of {share} of all"),
        Threshold::Ratio(ratio) => format!("below {ratio} of the mean"),
    }
}
