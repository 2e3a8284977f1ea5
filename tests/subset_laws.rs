//! Laws of subsets: whatever the words, the labels and the draws.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, Array3, ArrayView1, arr1, arr2};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::Result;
use roundelay::vocab::subset::marker::{assign, queries};
use roundelay::vocab::subset::select::{Selector, missed};
use roundelay::vocab::subset::{
    Cache, Correction, Curriculum, Inclusion, Loss, Proposal, Sample, SampledSoftmax, Shrinking, Subset, Subsets,
    Uniforms, by_row, forced_inclusion_softmax, full_softmax, subset_softmax,
};

fn numbers(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut draws = Uniforms::new(seed);
    Array2::from_shape_simple_fn((rows, columns), || draws.next().unwrap() * 4.0 - 2.0)
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-11 * (1.0 + expected.abs())
}

/// Slopes of a function of a matrix, by differences.
fn differences(at: &Array2<f64>, f: impl Fn(&Array2<f64>) -> f64) -> Array2<f64> {
    let step = 1e-5;
    Array2::from_shape_fn(at.dim(), |place| {
        let moved = |by: f64| {
            let mut moved = at.clone();
            moved[place] += by;
            f(&moved)
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    })
}

fn assert_slopes(found: &Array2<f64>, expected: &Array2<f64>) {
    assert_eq!(found.dim(), expected.dim());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{found} for {expected}");
    }
}

/// Words, a few labels among them, ids that were chosen, and a seed.
fn drawn() -> impl Strategy<Value = (usize, Vec<u32>, Vec<u32>, u64)> {
    (2usize..60).prop_flat_map(|words| {
        let id = 0..words as u32;
        (Just(words), vec(id.clone(), 1..6), vec(id, 0..40), any::<u64>())
    })
}

// ---- the map

proptest! {
    #[test]
    fn local_and_global_undo_each_other((words, labels, ids, _) in drawn(), absent in vec(-2i32..0, 0..4)) {
        let subset = Subset::new(labels.iter().chain(&ids).copied(), words).unwrap();
        let distinct: BTreeSet<u32> = labels.iter().chain(&ids).copied().collect();
        prop_assert_eq!(subset.ids(), distinct.iter().copied().collect::<Vec<_>>());
        let labels: Array1<i32> = labels.iter().map(|&id| id as i32).chain(absent).collect();
        let local = subset.local(labels.view()).unwrap();
        for (&place, &label) in local.iter().zip(&labels) {
            prop_assert_eq!(label < 0, place < 0);
            prop_assert!(place < 0 || subset.ids()[place as usize] == label as u32);
        }
        prop_assert_eq!(subset.global(local.view()).unwrap(), labels);
        let places: Array1<i64> = (0..subset.len() as i64).collect();
        prop_assert_eq!(subset.local(subset.global(places.view()).unwrap().view()).unwrap(), places);
        prop_assert!(subset.global(arr1(&[subset.len() as i64]).view()).is_err());
        for id in 0..words as u32 {
            prop_assert_eq!(subset.local(arr1(&[id]).view()).is_ok(), distinct.contains(&id));
        }
    }

    #[test]
    fn labels_are_always_in((words, labels, ranked, seed) in drawn()) {
        let forced: BTreeSet<u32> = labels.iter().copied().collect();
        let size = forced.len() + ranked.iter().filter(|id| !forced.contains(id)).collect::<BTreeSet<_>>().len();
        let filled = Subset::filled(size, &labels, ranked.iter().copied(), words).unwrap();
        prop_assert_eq!(filled.len(), size);
        prop_assert!(labels.iter().all(|&id| filled.place(id).is_some()));
        prop_assert!(Subset::filled(size + 1, &labels, ranked.iter().copied(), words).is_err());
        // Of what is ranked the best come in first.
        let tight = Subset::filled(forced.len(), &labels, ranked.iter().copied(), words).unwrap();
        prop_assert_eq!(tight.ids(), forced.iter().copied().collect::<Vec<_>>());

        let others = (seed % (words - forced.len() + 1) as u64) as usize;
        let drawn = Inclusion::draw(&labels, others, words, &mut Uniforms::new(seed)).unwrap();
        prop_assert_eq!(drawn.subset().len(), forced.len() + others);
        prop_assert!(labels.iter().all(|&id| drawn.subset().place(id).is_some_and(|place| drawn.log()[place] == 0.0)));

        let ids = Proposal::log_uniform(words).unwrap().draw(9, &mut Uniforms::new(seed)).unwrap();
        let proposal = Proposal::log_uniform(words).unwrap();
        let labels = Array1::from(labels);
        let subset = Sample::new(&ids, &proposal).subset(labels.view()).unwrap();
        prop_assert!(subset.local(labels.view()).is_ok());
    }

    #[test]
    fn scatter_and_gather_are_adjoint((words, labels, ids, seed) in drawn()) {
        let subset = Subset::new(labels.iter().chain(&ids).copied(), words).unwrap();
        let (table, rows) = (numbers(words, 3, seed), numbers(subset.len(), 3, seed ^ 1));
        let mut back = Array2::zeros(table.dim());
        subset.add(rows.view(), back.view_mut()).unwrap();
        let gathered = subset.gather(table.view()).unwrap();
        prop_assert!(close((&gathered * &rows).sum(), (&table * &back).sum()));
        let (all, part) = (numbers(4, words, seed), numbers(4, subset.len(), seed ^ 1));
        let taken = subset.take(all.view()).unwrap();
        let scattered = subset.scatter(part.view(), 0.0).unwrap();
        prop_assert!(close((&taken * &part).sum(), (&all * &scattered).sum()));
        prop_assert_eq!(subset.take(scattered.view()).unwrap(), part.clone());
        let hidden = subset.scatter(part.view(), f64::NEG_INFINITY).unwrap();
        prop_assert_eq!(hidden.iter().filter(|x| x.is_finite()).count(), part.len());
    }

    #[test]
    fn rows_of_a_batch_go_by_their_own_subsets((words, labels, ids, seed) in drawn()) {
        let one = Subset::new(labels.iter().chain(&ids).copied(), words).unwrap();
        let size = one.len();
        let others = (0..words as u32).rev();
        let other = Subset::filled(size, &[], others, words).unwrap();
        let subsets = Subsets::new(vec![one.clone(), other.clone()]).unwrap();
        let all = Array3::from_shape_vec((2, 3, words), numbers(6, words, seed).into_raw_vec_and_offset().0).unwrap();
        let taken = subsets.take(all.view()).unwrap();
        for (row, subset) in [&one, &other].into_iter().enumerate() {
            let expected = subset.take(all.index_axis(ndarray::Axis(0), row)).unwrap();
            prop_assert_eq!(taken.index_axis(ndarray::Axis(0), row), expected);
        }
        let places = Array2::from_shape_fn((2, size), |(_, place)| place as i32);
        let global = subsets.global(places.view()).unwrap();
        prop_assert_eq!(global.mapv(|id| id as u32), subsets.ids());
        prop_assert_eq!(subsets.local(global.view()).unwrap(), places);
        let (table, gradients) = (numbers(words, 2, seed), taken.slice(ndarray::s![.., ..2, ..]).permuted_axes([0, 2, 1]));
        let mut back = Array2::zeros(table.dim());
        subsets.add(gradients, back.view_mut()).unwrap();
        let gathered = subsets.gather(table.view()).unwrap();
        prop_assert!(close((&gathered * &gradients).sum(), (&table * &back).sum()));
        prop_assert_eq!(subsets.take(subsets.scatter(taken.view(), 0.0).unwrap().view()).unwrap(), taken);
    }
}

// ---- losses

proptest! {
    #[test]
    fn with_everything_drawn_it_is_full_softmax((words, labels, _, seed) in drawn()) {
        let (logits, labels) = (numbers(labels.len(), words, seed), Array1::from(labels));
        let full = full_softmax(logits.view(), labels.view()).unwrap();
        let forced: BTreeSet<u32> = labels.iter().copied().collect();
        let draw = |seed| Inclusion::draw(labels.as_slice().unwrap(), words - forced.len(), words, &mut Uniforms::new(seed));
        let drawn = draw(seed).unwrap();
        prop_assert_eq!(drawn.subset().len(), words);
        prop_assert_eq!(&forced_inclusion_softmax(logits.view(), labels.view(), &drawn).unwrap(), &full);
        prop_assert_eq!(&subset_softmax(logits.view(), labels.view(), drawn.subset()).unwrap(), &full);

        // Each word once, and nothing to set right.
        let (ids, proposal) = ((0..words as u32).collect::<Vec<_>>(), Proposal::uniform(words).unwrap());
        let sample = Sample::new(&ids, &proposal);
        for correction in [Correction::None, Correction::LogMQ] {
            let rule = SampledSoftmax { correction, ..SampledSoftmax::default() };
            let loss = rule.loss(logits.view(), labels.view(), drawn.subset(), &sample).unwrap();
            prop_assert!(loss.gradient.iter().zip(&full.gradient).all(|(&a, &b)| close(a, b)));
            prop_assert!(loss.rows.iter().zip(&full.rows).all(|(&a, &b)| close(a, b)));
        }
    }

    #[test]
    fn gradients_are_slopes((words, labels, ids, seed) in drawn(), rule in 0usize..12) {
        prop_assume!(!ids.is_empty());
        let (labels, proposal) = (Array1::from(labels), Proposal::log_uniform(words).unwrap());
        let corrections = [Correction::None, Correction::LogMQ, Correction::LogExpectedUnique];
        let rule = SampledSoftmax {
            correction: corrections[rule % 3],
            correct_label: rule / 3 % 2 == 1,
            remove_accidental_hits: rule / 6 == 1,
        };
        let sample = Sample::new(&ids, &proposal);
        let subset = sample.subset(labels.view()).unwrap();
        let logits = numbers(labels.len(), subset.len(), seed);
        let loss = |logits: &Array2<f64>| rule.loss(logits.view(), labels.view(), &subset, &sample).unwrap();
        assert_slopes(&loss(&logits).gradient, &differences(&logits, |logits| loss(logits).mean()));

        let weights: Array1<f64> = (0..labels.len()).map(|row| row as f64).collect();
        let weighted = |logits: &Array2<f64>| loss(logits).weighted(weights.view()).unwrap();
        assert_slopes(&weighted(&logits).gradient, &differences(&logits, |logits| weighted(logits).rows.sum()));
        let single = rule.loss(logits.mapv(|x| x as f32).view(), labels.view(), &subset, &sample).unwrap();
        prop_assert!((single.mean() - loss(&logits).mean()).abs() < 1e-5);
    }
}

/// Words, and logits that are largest where few are drawn.
const WORDS: usize = 30;

fn uneven() -> (Array2<f64>, Array1<i32>, Array1<f64>) {
    let logits = numbers(1, WORDS, 11) + Array1::from_shape_fn(WORDS, |id| id as f64 / 15.0);
    let shares = logits.row(0).mapv(f64::exp);
    (logits, arr1(&[4]), &shares / shares.sum())
}

/// How far the mean gradient over seeds is from the full one, at each word: in standard errors.
fn deviations(seeds: u64, expected: ArrayView1<f64>, gradient: impl Fn(u64) -> Array1<f64>) -> Vec<f64> {
    let all: Vec<Array1<f64>> = (0..seeds).map(gradient).collect();
    let count = seeds as f64;
    let of_word = |id: usize| {
        let mean = all.iter().map(|g| g[id]).sum::<f64>() / count;
        let variance = all.iter().map(|g| (g[id] - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean - expected[id]) / (variance / count).sqrt().max(1e-12)
    };
    (0..expected.len()).map(of_word).collect()
}

fn largest(deviations: &[f64]) -> f64 {
    deviations.iter().fold(0.0, |most, deviation| deviation.abs().max(most))
}

/// What a gradient is off by on average, as a share of a sum that is drawn, to the first order in its variance.
/// `pair` is the covariance of what two words add to the sum, each relative to what it adds on average.
fn bias(shares: ArrayView1<f64>, pair: impl Fn(usize, usize) -> f64) -> Array1<f64> {
    let words = || 0..shares.len();
    let with_sum = |a: usize| words().map(|b| shares[a] * shares[b] * pair(a, b)).sum::<f64>();
    let variance: f64 = words().map(with_sum).sum();
    words().map(|word| shares[word] * variance - with_sum(word)).collect()
}

/// 4 standard errors around the full gradient, set right by the bias: of 30 words, one in 500 tests with other seeds
/// would be further off by chance.
fn assert_full(found: impl Fn(u64) -> Array1<f64>, full: ArrayView1<f64>, bias: &Array1<f64>) {
    let found = deviations(SEEDS, (&full + bias).view(), found);
    assert!(largest(&found) < 4.0, "{found:?}");
    // The bias is not what makes it fit.
    assert!(bias.iter().zip(full).all(|(bias, full)| bias.abs() < 0.05 * full.abs()), "{bias}");
}

const SEEDS: u64 = 3000;

const DRAWS: usize = 400;

#[test]
fn mean_gradient_of_sampled_softmax_is_the_full_one() {
    let (logits, labels, shares) = uneven();
    let proposal = Proposal::log_uniform(WORDS).unwrap();
    let full = full_softmax(logits.view(), labels.view()).unwrap().gradient;
    let gradient = |rule: SampledSoftmax, seed: u64| {
        let ids = proposal.draw(DRAWS, &mut Uniforms::new(seed)).unwrap();
        let sample = Sample::new(&ids, &proposal);
        let subset = sample.subset(labels.view()).unwrap();
        let taken = subset.take(logits.view()).unwrap();
        let loss = rule.loss(taken.view(), labels.view(), &subset, &sample).unwrap();
        subset.scatter(loss.gradient.view(), 0.0).unwrap().row(0).to_owned()
    };
    let (q, m) = (|id: usize| proposal.probability(id as u32), DRAWS as f64);
    let label = |a: usize, b: usize| a == 4 || b == 4;
    let counted = bias(shares.view(), |a, b| match label(a, b) {
        true => 0.0,
        false => (if a == b { 1.0 / q(a) } else { 0.0 } - 1.0) / m,
    });
    let rule = SampledSoftmax::default();
    assert_full(|seed| gradient(rule, seed), full.row(0), &counted);

    let never = |q: f64| (1.0 - q).powf(m);
    let once = bias(shares.view(), |a, b| {
        let [one, other] = [a, b].map(|id| 1.0 - never(q(id)));
        let both = if a == b { one } else { one + other - 1.0 + never(q(a) + q(b)) };
        if label(a, b) { 0.0 } else { both / (one * other) - 1.0 }
    });
    let unique = SampledSoftmax { correction: Correction::LogExpectedUnique, ..rule };
    assert_full(|seed| gradient(unique, seed), full.row(0), &once);

    // What is not set right is far off, and so is the loss in which the label was drawn as well.
    let none = SampledSoftmax { correction: Correction::None, ..rule };
    assert!(largest(&deviations(SEEDS, full.row(0), |seed| gradient(none, seed))) > 100.0);
    let drawn = SampledSoftmax { correct_label: true, ..rule };
    assert!(largest(&deviations(SEEDS, full.row(0), |seed| gradient(drawn, seed))) > 100.0);
}

#[test]
fn mean_gradient_of_forced_inclusion_is_the_full_one() {
    let (logits, labels, shares) = uneven();
    let full = full_softmax(logits.view(), labels.view()).unwrap().gradient;
    // The largest logits are retrieved, and so are sure to be there.
    let (forced, count) = ([4, 28, 29], 24);
    let draw = |seed: u64| {
        let drawn = Inclusion::draw(&forced, count, WORDS, &mut Uniforms::new(seed)).unwrap();
        let taken = drawn.subset().take(logits.view()).unwrap();
        (drawn, taken)
    };
    let gradient = |seed: u64| {
        let (drawn, taken) = draw(seed);
        let loss = forced_inclusion_softmax(taken.view(), labels.view(), &drawn).unwrap();
        drawn.subset().scatter(loss.gradient.view(), 0.0).unwrap().row(0).to_owned()
    };
    let others = (WORDS - forced.len()) as f64;
    let odds = others / count as f64 - 1.0;
    let sure = |id: usize| forced.contains(&(id as u32));
    let evenly = bias(shares.view(), |a, b| match sure(a) || sure(b) {
        true => 0.0,
        false if a == b => odds,
        false => -odds / (others - 1.0),
    });
    assert_full(gradient, full.row(0), &evenly);

    // The sum of exponentials has no bias at all.
    let sum = |seed: u64| {
        let (drawn, taken) = draw(seed);
        arr1(&[taken.row(0).iter().zip(drawn.log()).map(|(s, log)| (s - log).exp()).sum::<f64>()])
    };
    let all = arr1(&[logits.row(0).mapv(f64::exp).sum()]);
    let found = deviations(SEEDS, all.view(), sum);
    assert!(largest(&found) < 4.0, "{found:?}");
    let plain = |seed: u64| {
        let (drawn, taken) = draw(seed);
        let loss = subset_softmax(taken.view(), labels.view(), drawn.subset()).unwrap();
        drawn.subset().scatter(loss.gradient.view(), 0.0).unwrap().row(0).to_owned()
    };
    assert!(largest(&deviations(SEEDS, full.row(0), plain)) > 30.0);
}

#[test]
fn draws_follow_their_proposal() {
    let count = 40_000;
    for proposal in [Proposal::uniform(20), Proposal::log_uniform(20), Proposal::unigram(&[5, 0, 3, 9, 1], 0.75)] {
        let proposal: Proposal = proposal.unwrap();
        let mut counts = vec![0.0; proposal.words()];
        proposal.draw(count, &mut Uniforms::new(5)).unwrap().iter().for_each(|&id| counts[id as usize] += 1.0);
        let chances = || (0..proposal.words() as u32).map(|id| proposal.probability(id));
        assert!(close(chances().sum(), 1.0));
        for (found, q) in counts.iter().zip(chances()) {
            let expected = q * count as f64;
            assert!((found - expected).abs() <= 4.0 * (expected * (1.0 - q)).sqrt(), "{found} of {expected}");
        }
    }
}

// ---- schedule, cache, marker

proptest! {
    #[test]
    fn subsets_only_shrink(to in 1usize..500, more in 0usize..9000, hold in 0u64..20, steps in 0u64..60, how in 0usize..3) {
        let shrinking = [Shrinking::Linear, Shrinking::Geometric, Shrinking::Cosine][how];
        let sizes = Curriculum { from: to + more, to, hold, steps, shrinking };
        sizes.check().unwrap();
        prop_assert!((0..=hold).all(|step| sizes.size(step) == to + more || step > hold));
        prop_assert!((0..hold + steps + 3).all(|step| sizes.size(step) >= sizes.size(step + 1)));
        prop_assert_eq!(sizes.size(hold + steps.max(1)), to);
        let grows = Curriculum { from: to, to: to + 1, ..sizes };
        prop_assert!(grows.check().is_err());
    }

    #[test]
    fn cache_answers_as_the_search_does(most in 1usize..5, batches in vec(vec(0u8..6, 1..5), 1..12)) {
        let mut cache = Cache::new(most).unwrap();
        let mut twin: Vec<u8> = Vec::new();
        let (mut hits, mut misses) = (0, 0);
        for batch in batches {
            let queries = Array2::from_shape_fn((batch.len(), 1), |(row, _)| f32::from(batch[row]));
            let mut searched = Vec::new();
            let found = cache.results(queries.view(), |queries| {
                searched = queries.iter().map(|&query| query as u8).collect();
                Ok(searched.iter().map(|query| query * 10).collect())
            });
            let found: Vec<u8> = found.unwrap().iter().map(|found| **found).collect();
            prop_assert_eq!(found, batch.iter().map(|query| query * 10).collect::<Vec<_>>());
            let mut unknown = Vec::new();
            batch.iter().for_each(|q| if !twin.contains(q) && !unknown.contains(q) { unknown.push(*q) });
            prop_assert_eq!(&searched, &unknown);
            (hits, misses) = (hits + (batch.len() - unknown.len()) as u64, misses + unknown.len() as u64);
            for query in batch {
                twin.retain(|&known| known != query);
                twin.push(query);
                if twin.len() > most { twin.remove(0); }
            }
            prop_assert_eq!(cache.len(), twin.len());
        }
        prop_assert_eq!((cache.hits(), cache.misses()), (hits, misses));
        cache.clear();
        prop_assert!(cache.is_empty());
    }

    #[test]
    fn each_position_goes_by_the_last_marker(rows in vec(vec(-1i32..4, 9), 1..4)) {
        let tokens = Array2::from_shape_fn((rows.len(), 9), |(row, at)| rows[row][at]);
        let found = queries(tokens.view(), 3);
        prop_assert_eq!(found.len(), tokens.iter().filter(|&&id| id == 3).count());
        let whose = assign(&found, tokens.dim());
        for ((row, at), &query) in whose.indexed_iter() {
            let last = (0..=at).rev().find(|&at| tokens[[row, at]] == 3);
            let of = usize::try_from(query).ok().map(|query| &found[query]);
            prop_assert_eq!(of.map(|query| (query.row, query.at)), last.map(|at| (row, at)));
            if let (Some(query), Some(&next)) = (of, tokens.get([row, at + 1])) {
                prop_assert_eq!(query.labels(tokens.view()).contains(&(next as u32)), next >= 0);
            }
        }
    }
}

// ---- training the choice

#[test]
fn soft_choice_has_the_slopes_that_it_says() {
    let (scores, of_mask) = (numbers(3, 12, 21), numbers(3, 12, 22));
    for (count, temperature) in [(1, 0.5), (4, 0.3), (11, 1.0), (12, 1.0)] {
        let selector = Selector::new(count, temperature).unwrap();
        let select = |scores: &Array2<f64>| selector.select(scores.view(), Some(&mut Uniforms::new(1))).unwrap();
        let chosen = select(&scores);
        for row in chosen.inside().outer_iter() {
            assert!(close(row.sum(), count as f64) && row.iter().all(|inside| (0.0..=1.0).contains(inside)));
        }
        // What is inside the furthest is what is chosen.
        for (row, places) in chosen.places().outer_iter().enumerate() {
            let least = places.iter().map(|&place| chosen.inside()[[row, place]]).fold(1.0, f64::min);
            assert_eq!(chosen.inside().row(row).iter().filter(|&&inside| inside >= least).count(), count);
        }
        assert_eq!(chosen.mask().sum_axis(ndarray::Axis(1)), Array1::from_elem(3, count as f64));
        let found = chosen.back(of_mask.view()).unwrap();
        assert_slopes(&found, &differences(&scores, |scores| (select(scores).inside() * &of_mask).sum()));
        let labels = arr2(&[[0, 5, -1], [11, 11, 2], [-1, -2, -1]]);
        let loss = |scores: &Array2<f64>| select(scores).label_loss(labels.view()).unwrap();
        assert_slopes(&loss(&scores).gradient, &differences(&scores, |scores| loss(scores).mean()));
        assert_eq!(loss(&scores).rows[2], 0.0);
    }
}

#[test]
fn what_a_subset_misses_has_the_slopes_that_it_says() {
    let (logits, mask) = (numbers(4, 9, 31), Array1::from_shape_fn(9, |id| if id % 2 == 0 { 1.0 } else { 0.25 }));
    let row = mask.clone().insert_axis(ndarray::Axis(0));
    let loss = |mask: &Array2<f64>| missed(logits.view(), mask.row(0)).unwrap();
    assert!(loss(&row).rows.iter().all(|&loss| loss > 0.0));
    assert_slopes(&loss(&row).gradient, &differences(&row, |mask| loss(mask).mean()));
    assert!(missed(logits.view(), Array1::ones(9).view()).unwrap().rows.iter().all(|loss| loss.abs() < 1e-12));
    assert!(missed(logits.view(), Array1::zeros(9).view()).is_err());
}

/// Scores learn to hold the labels and what the model thinks likely, by nothing but these gradients.
#[test]
fn choice_is_learned() {
    let (mut scores, selector) = (Array2::<f64>::zeros((1, 40)), Selector::new(8, 0.5).unwrap());
    let logits = Array2::from_shape_fn((3, 40), |(row, id)| if id % 10 == row { 3.0 } else { 0.0 });
    let labels = arr2(&[[17, 25]]);
    let missing = |scores: &Array2<f64>| {
        let chosen = selector.select(scores.view(), None).unwrap();
        missed(logits.view(), chosen.mask().row(0)).unwrap().mean()
    };
    let before = missing(&scores);
    let mut draws = Uniforms::new(2);
    for _ in 0..400 {
        let chosen = selector.select(scores.view(), Some(&mut draws)).unwrap();
        let gap = missed(logits.view(), chosen.mask().row(0)).unwrap();
        let slopes = chosen.back(gap.gradient.view()).unwrap() + chosen.label_loss(labels.view()).unwrap().gradient;
        scores.scaled_add(-0.3, &slopes);
    }
    let chosen = selector.select(scores.view(), None).unwrap();
    assert!([17, 25].iter().all(|label| chosen.places().iter().any(|place| place == label)), "{chosen:?}");
    assert!(missing(&scores) < before - 0.3, "{} after {before}", missing(&scores));
}

// ---- batches

/// Every kind of loss of the same logits.
fn every_loss(logits: &Array2<f64>, labels: &[i64], seed: u64) -> [Loss<f64>; 4] {
    let (logits, labels, words) = (logits.view(), ArrayView1::from(labels), logits.ncols());
    let all = Subset::new(0..words as u32, words).unwrap();
    let forced: Vec<u32> = (0..words as u32 / 2).collect();
    let drawn: Vec<u32> = (words as u32 / 2..words as u32).collect();
    let proposal = Proposal::log_uniform(words).unwrap();
    let ids = proposal.draw(2 * words, &mut Uniforms::new(seed)).unwrap();
    let sampled = SampledSoftmax { correct_label: true, ..SampledSoftmax::default() };
    [
        full_softmax(logits, labels).unwrap(),
        subset_softmax(logits, labels, &all).unwrap(),
        forced_inclusion_softmax(logits, labels, &Inclusion::new(&forced, &drawn, words).unwrap()).unwrap(),
        sampled.loss(logits, labels, &all, &Sample::new(&ids, &proposal)).unwrap(),
    ]
}

#[test]
fn absent_labels_do_not_count() {
    let logits = numbers(4, 8, 3);
    let there = logits.select(ndarray::Axis(0), &[0, 2]);
    for (with, without) in every_loss(&logits, &[1, -1, 3, -2], 5).iter().zip(every_loss(&there, &[1, 3], 5)) {
        assert_eq!((with.counted, without.counted), (2, 2));
        assert!(close(with.mean(), without.mean()) && with.mean() > 0.1);
        assert_eq!(with.gradient.select(ndarray::Axis(0), &[0, 2]), without.gradient);
        assert!([1, 3].iter().all(|&row| with.rows[row] == 0.0 && with.gradient.row(row).iter().all(|&g| g == 0.0)));
        let weighted = with.clone().weighted(arr1(&[0.5; 4]).view()).unwrap();
        assert!(close(weighted.rows.sum(), with.mean()));
        assert!(weighted.gradient.iter().zip(&with.gradient).all(|(&found, &mean)| close(found, mean)));
    }
    let none = full_softmax(logits.view(), arr1(&[-1; 4]).view()).unwrap();
    assert_eq!((none.mean(), none.gradient.sum()), (0.0, 0.0));
}

#[test]
fn rows_with_subsets_of_their_own_are_one_loss() {
    let logits = Array3::from_shape_vec((2, 3, 4), numbers(6, 4, 9).into_raw_vec_and_offset().0).unwrap();
    let labels = arr2(&[[7, 2, -1], [0, 9, 5]]);
    let subsets = [Subset::new([2, 4, 7, 8], 10).unwrap(), Subset::new([0, 3, 5, 9], 10).unwrap()];
    let whole = |logits: &Array3<f64>| {
        by_row(logits.view(), labels.view(), |row, logits, labels| subset_softmax(logits, labels, &subsets[row]))
            .unwrap()
    };
    let (losses, gradient) = whole(&logits);
    let mean = |flat: &Array2<f64>| {
        whole(&Array3::from_shape_vec((2, 3, 4), flat.iter().copied().collect()).unwrap()).0.sum() / 5.0
    };
    let flat = Array2::from_shape_vec((6, 4), logits.iter().copied().collect()).unwrap();
    assert_slopes(
        &Array2::from_shape_vec((6, 4), gradient.iter().copied().collect()).unwrap(),
        &differences(&flat, mean),
    );
    assert_eq!(losses[[0, 2]], 0.0);
    let wrong = by_row(logits.view(), labels.view(), |_, logits, labels| subset_softmax(logits, labels, &subsets[0]));
    assert!(wrong.unwrap_err().to_string().contains("row 1"));
}

// ---- refusals

#[test]
fn what_does_not_fit_is_refused() {
    fn says<T>(result: Result<T>, expected: &str) {
        assert_eq!(result.err().map(|error| error.to_string()).as_deref(), Some(expected));
    }
    let subset = Subset::new([1, 3], 5).unwrap();
    says(Subset::new([5], 5), "id is 5, expected 0..5");
    says(Subset::filled(1, &[1, 2], [], 5), "number of forced ids is 2, expected at most 1");
    says(Subset::filled(3, &[1], [2, 1], 5), "ids to fill the subset is 2, expected 3");
    says(subset.gather(Array2::<f32>::zeros((4, 2)).view()), "rows of the table is 4, expected 5");
    says(subset.scatter(arr1(&[1.0]).view(), 0.0), "last axis is 1, expected 2");
    says(Subset::union(&[]), "number of subsets is 0, expected at least 1");
    says(
        Subsets::new(vec![subset.clone(), Subset::new([1], 5).unwrap()]).map(drop),
        "ids of a subset is 1, expected 2",
    );
    let two = arr2(&[[0.5, 1.0]]);
    says(full_softmax(two.view(), arr1(&[2]).view()), "label of row 0 is 2, expected 0..2");
    says(full_softmax(two.view(), arr1(&[0, 1]).view()), "number of labels is 2, expected 1");
    says(
        full_softmax(arr2(&[[f32::NAN, 1.0]]).view(), arr1(&[0]).view()),
        "loss of row 0 is NaN, expected a finite number",
    );
    says(
        subset_softmax(two.view(), arr1(&[2]).view(), &subset),
        "label at 0 is 2, expected one of the 2 ids of the subset",
    );
    let drawn = Inclusion::new(&[1], &[3], 5).unwrap();
    says(
        forced_inclusion_softmax(two.view(), arr1(&[3]).view(), &drawn),
        "label is 3, expected one of the ids that are forced",
    );
    says(Inclusion::new(&[1, 3], &[3], 5), "drawn ids that are forced or drawn before is 1, expected 0");
    says(Inclusion::draw(&[1, 3], 4, 5, &mut Uniforms::new(0)), "number of words to draw is 4, expected at most 3");
    says(Proposal::listed(&[1.0, -1.0]), "weight of word 1 is -1, expected a number that is not negative");
    let never = Proposal::unigram(&[0, 2, 0, 0, 1], 1.0).unwrap();
    says(never.draw_distinct(3, &mut Uniforms::new(0)), "number of distinct draws is 3, expected at most 2");
    says(never.draw(2, &mut [0.5].into_iter()), "number to draw by is missing, expected one for each draw");
    let sample = Sample { ids: &[3], draws: 1, proposal: &never };
    says(
        SampledSoftmax::default().loss(two.view(), arr1(&[1]).view(), &subset, &sample),
        "expected draws of word 3 is 0, expected more than 0",
    );
    says(Cache::<u8>::new(0).map(drop), "results to keep is 0, expected at least 1");
    says(Selector::new(3, 1.0).unwrap().select(two.view(), None), "words to choose is 3, expected at most 2");
    says(
        Selector::new(1, 1e-300).unwrap().select(arr2(&[[1e20, -1e20]]).view(), None),
        "score is 100000000000000000000, expected finite at temperature 1e-300",
    );
    let growing = Curriculum { from: 2, to: 8, hold: 0, steps: 4, shrinking: Shrinking::Linear };
    says(growing.check(), "last size of the subset is 8, expected 1 to 2, the first");
    assert_eq!(growing.size(2), 5);
    says(Selector::new(3, 0.0), "temperature is 0, expected a finite number above 0");
}
