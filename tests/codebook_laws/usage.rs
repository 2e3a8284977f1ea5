//! The figures of how a codebook is used, against plain formulas.

use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::codebook::{Threshold, Usage, UsageEma};

use crate::drawn::threshold;

proptest! {
    #[test]
    fn figures_are_those_of_plain_formulas(counts in vec(0u64..50, 1..30), threshold in threshold()) {
        let usage = Usage::from_counts(counts.clone()).unwrap();
        let weights: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let (n, total) = (weights.len() as f64, weights.iter().sum::<f64>());
        let mean = total / n;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        prop_assert!(close(usage.mean(), mean));
        let variance = weights.iter().map(|w| w * w).sum::<f64>() / n - mean * mean;
        prop_assert!((usage.deviation().powi(2) - variance).abs() < 1e-7);
        let differences: f64 = weights.iter().flat_map(|a| weights.iter().map(move |b| (a - b).abs())).sum();
        let gini = if total > 0.0 { differences / (2.0 * n * n * mean) } else { 0.0 };
        prop_assert!(close(usage.gini(), gini));
        let entropy: f64 = weights.iter().filter(|w| **w > 0.0).map(|w| w / total * (total / w).ln()).sum();
        prop_assert!(close(usage.entropy(), entropy) && close(usage.perplexity() / entropy.exp(), 1.0));
        prop_assert_eq!(usage.used(), counts.iter().filter(|count| **count > 0).count());
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        let first = |value| counts.iter().position(|count| count == value).unwrap();
        prop_assert_eq!(usage.least(), Some((first(least), *least)));
        prop_assert_eq!(usage.most(), Some((first(most), *most)));
        let floor = match threshold {
            Threshold::Count(count) => count,
            Threshold::Share(share) => share * total,
            Threshold::Ratio(ratio) => ratio * mean,
        };
        let dead: Vec<usize> = (0..counts.len()).filter(|&code| weights[code] < floor - 1e-9).collect();
        prop_assert!(usage.dead(threshold).iter().all(|&code| weights[code] < floor + 1e-9));
        prop_assert!(dead.iter().all(|code| usage.dead(threshold).contains(code)));
        // Averages have the same figures.
        let same = Usage::from_counts(weights).unwrap();
        prop_assert_eq!((same.gini(), same.entropy(), same.dead(threshold)), (usage.gini(), usage.entropy(), usage.dead(threshold)));
    }

    #[test]
    fn merged_counts_are_those_of_the_whole(codes in vec(0usize..9, 0..80), owners in vec(0usize..4, 80)) {
        let mut whole = Usage::new(9);
        let mut parts = vec![Usage::new(9); 4];
        for (&code, &owner) in codes.iter().zip(&owners) {
            whole.add(code);
            parts[owner].add(code);
        }
        let mut merged = Usage::new(9);
        parts.iter().rev().for_each(|part| merged.merge(part));
        prop_assert_eq!(merged, whole);
    }

    #[test]
    fn average_of_use_fades_by_its_decay(steps in vec(vec(0u64..20, 5), 1..12), decay in 0.0..=1.0) {
        let mut average = UsageEma::new(5, decay).unwrap();
        steps.iter().for_each(|counts| average.step(&Usage::from_counts(counts.clone()).unwrap()));
        for code in 0..5 {
            let weight = |age: usize| (1.0 - decay) * f64::powi(decay, age as i32);
            let expected: f64 = steps.iter().rev().enumerate().map(|(age, counts)| weight(age) * counts[code] as f64).sum();
            prop_assert!((average.usage().counts()[code] - expected).abs() < 1e-9);
        }
        let text = serde_json::to_string(&average).unwrap();
        prop_assert_eq!(serde_json::from_str::<UsageEma>(&text).unwrap(), average);
    }
}
