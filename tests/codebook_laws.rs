//! Laws of codebooks: whatever the batch, the rule and the split over workers.

#[path = "codebook_laws/drawn.rs"]
mod drawn;
#[path = "codebook_laws/slow.rs"]
mod slow;
#[path = "codebook_laws/usage.rs"]
mod usage;

use std::collections::BTreeSet;
use std::thread;

use drawn::{drawn, matrix};
use ndarray::{Array2, ArrayView1, Axis, s};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::codebook::{
    Alone, Collective, Draws, Dropout, EmaCodebook, EmaParts, EmaRule, KMeans, Metric, Moment, ResidualQuantizer,
    ResidualTrainer, ResidualTraining, Revival, RevivedState, SeededDraws, Smoothing, Start, Threshold, Usage, refine,
    threads,
};
use slow::{Slow, assert_close, distance, lists, unit};

// ---- steps

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn step_is_that_of_plain_loops(drawn in drawn()) {
        let mut codebook = drawn.codebook();
        let before = codebook.parts();
        let step = codebook.step(drawn.x.view(), &mut SeededDraws::new(drawn.seed), &mut Alone).unwrap();
        let cosine = drawn.rule.metric == Metric::Cosine;
        let x: Vec<Vec<f64>> = lists(&drawn.x).iter().map(|row| if cosine { unit(row) } else { row.clone() }).collect();
        let mut slow = Slow {
            table: lists(&before.table),
            sizes: before.sizes.iter().map(|&size| size.into()).collect(),
            sums: lists(&before.sums),
        };
        let mut error = 0.0;
        for (row, &code) in x.iter().zip(&step.codes) {
            let all: Vec<f64> = slow.table.iter().map(|code| distance(row, code)).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            if cosine {
                prop_assert!(all[code] <= least + 1e-5);
            } else {
                prop_assert_eq!(code, all.iter().position(|&d| d == least).unwrap(), "the first of equals");
            }
            error += all[code] / (x.len() * row.len()) as f64;
        }
        prop_assert!((step.error - error).abs() < 1e-5 * (1.0 + error));
        let revived = slow.step(&drawn, &x, &step.codes);
        prop_assert_eq!(step.revived.iter().map(|r| (r.code, r.row)).collect::<Vec<_>>(), revived);
        let after = codebook.parts();
        assert_close(&after.sums, &slow.sums, "sums");
        // Where a direction is made of next to nothing, rounding decides it.
        if !cosine {
            assert_close(&after.table, &slow.table, "table");
        }
        prop_assert_eq!(after.sizes.iter().map(|&size| f64::from(size)).collect::<Vec<_>>(), slow.sizes);
        prop_assert_eq!(after.steps, drawn.parts.steps + 1);
        for (code, &count) in step.counts.counts().iter().enumerate() {
            prop_assert_eq!(count as usize, step.codes.iter().filter(|&&c| c == code).count());
        }
    }

    #[test]
    fn only_dead_codes_change_by_revival(mut drawn in drawn()) {
        drawn.rule.metric = Metric::Euclidean;
        drawn.rule.noise = 0.0;
        let (step, with) = drawn.step(drawn.rule);
        let (plain, without) = drawn.step(EmaRule { revival: None, ..drawn.rule });
        prop_assert_eq!(&step.codes, &plain.codes);
        prop_assert!(plain.revived.is_empty());
        let dead: Vec<usize> = step.revived.iter().map(|revived| revived.code).collect();
        let Some(revival) = drawn.rule.revival else { return Ok(()) };
        let before = revival.moment == Moment::BeforeEma;
        let sizes = if before { &drawn.parts.sizes } else { &without.sizes };
        let usage = Usage::from_counts(sizes.iter().map(|&size| f64::from(size)).collect()).unwrap();
        let due = (drawn.parts.steps + 1).is_multiple_of(revival.every);
        prop_assert_eq!(&dead, &if due { usage.dead(revival.threshold) } else { Vec::new() });
        // A revived size moves all others' smoothing if the table is made after it.
        let smoothed = before && matches!(drawn.rule.smoothing, Smoothing::Laplace(_));
        for code in (0..with.sizes.len()).filter(|code| !dead.contains(code)) {
            prop_assert_eq!(with.sizes[code], without.sizes[code]);
            prop_assert_eq!(with.sums.row(code), without.sums.row(code));
            prop_assert!(smoothed || with.table.row(code) == without.table.row(code));
        }
        for revived in step.revived.iter().filter(|_| !before) {
            let vector = drawn.x.row(revived.row);
            prop_assert_eq!(with.table.row(revived.code), vector);
            let size = match revival.state {
                RevivedState::Kept => without.sizes[revived.code],
                RevivedState::Size(size) => size as f32,
                RevivedState::Ratio(ratio) => (ratio * usage.mean()) as f32,
            };
            prop_assert_eq!(with.sizes[revived.code], size);
            let sum = if revival.state == RevivedState::Kept { without.sums.row(revived.code).to_owned() } else { &vector * size };
            prop_assert!(with.sums.row(revived.code).iter().zip(&sum).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()));
        }
    }

    #[test]
    fn what_was_kept_goes_on_the_same(drawn in drawn()) {
        let mut one = drawn.codebook();
        let mut draws = SeededDraws::new(drawn.seed);
        one.step(drawn.x.view(), &mut draws, &mut Alone).unwrap();
        let mut other = EmaCodebook::from_parts(one.parts(), drawn.rule).unwrap();
        one.step(drawn.x.view(), &mut draws.clone(), &mut Alone).unwrap();
        other.step(drawn.x.view(), &mut draws, &mut Alone).unwrap();
        prop_assert_eq!(one.parts(), other.parts());
    }
}

// ---- workers

/// Runs the same on as many threads as there are cuts and one more, each with its part of the rows.
fn split<T: Send>(
    x: &Array2<f32>,
    cuts: &[usize],
    run: impl Fn(Array2<f32>, &mut dyn Collective) -> T + Sync,
) -> Vec<T> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (x.nrows() + 1)).collect();
    ends.sort();
    ends.push(x.nrows());
    let starts = std::iter::once(0).chain(ends.clone());
    thread::scope(|scope| {
        let run = &run;
        let parts = starts.zip(&ends).map(|(start, &end)| x.slice(s![start..end, ..]).to_owned());
        let workers = threads(ends.len()).into_iter().zip(parts);
        let handles: Vec<_> = workers.map(|(mut worker, part)| scope.spawn(move || run(part, &mut worker))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn step_does_not_depend_on_the_split(drawn in drawn(), cuts in vec(any::<usize>(), 0..4)) {
        let (step, parts) = drawn.step(drawn.rule);
        let outcomes = split(&drawn.x, &cuts, |part, worker| {
            let mut codebook = drawn.codebook();
            let step = codebook.step(part.view(), &mut SeededDraws::new(drawn.seed), worker).unwrap();
            (step, codebook.parts())
        });
        let codes: Vec<usize> = outcomes.iter().flat_map(|(step, _)| step.codes.clone()).collect();
        prop_assert_eq!(codes, step.codes);
        for (theirs, found) in outcomes {
            prop_assert_eq!(&found, &parts);
            prop_assert_eq!((theirs.error.to_bits(), &theirs.revived), (step.error.to_bits(), &step.revived));
            prop_assert_eq!(&theirs.counts, &step.counts);
        }
    }

    #[test]
    fn k_means_does_not_depend_on_the_split(
        x in (1usize..10).prop_flat_map(|width| matrix(1..60, width)),
        cuts in vec(any::<usize>(), 0..4),
        clusters in 1usize..12,
        seed in any::<u64>(),
        start in prop_oneof![Just(Start::Random), Just(Start::PlusPlus)],
    ) {
        let k_means = KMeans { clusters, rounds: 3, seed, start };
        let alone = k_means.fit(x.view()).unwrap();
        for found in split(&x, &cuts, |part, worker| k_means.fit_with(part.view(), worker).unwrap()) {
            prop_assert_eq!((&found.means, &found.sizes), (&alone.means, &alone.sizes));
        }
    }

    #[test]
    fn k_means_is_its_own_start_refined(
        x in (1usize..10).prop_flat_map(|width| matrix(20..60, width)),
        clusters in 1usize..6,
        seed in any::<u64>(),
    ) {
        let k_means = |rounds| KMeans { clusters, rounds, seed, start: Start::Random }.fit(x.view()).unwrap();
        let refined = refine(x.view(), k_means(0).means, 1, |_, _| None);
        let found = k_means(1);
        prop_assert_eq!(&found.sizes, &refined.sizes);
        for cluster in (0..clusters).filter(|&cluster| found.sizes[cluster] > 0) {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            prop_assert!(found.means.row(cluster).iter().zip(refined.means.row(cluster)).all(close));
        }
    }

    #[test]
    fn k_means_plus_plus_takes_no_vector_twice_while_others_are_left(
        x in matrix(1..40, 1),
        clusters in 1usize..50,
        seed in any::<u64>(),
    ) {
        let start = |start| KMeans { clusters, rounds: 0, seed, start }.fit(x.view()).unwrap().means;
        let means = start(Start::PlusPlus);
        let distinct = |rows: &Array2<f32>| rows.iter().map(|value| value.to_bits()).collect::<BTreeSet<_>>();
        prop_assert_eq!(distinct(&means).len(), clusters.min(distinct(&x).len()));
        prop_assert!(distinct(&means).is_subset(&distinct(&x)));
        prop_assert_eq!(means, start(Start::PlusPlus));
        // Rows drawn at random are different rows, though their vectors may be the same.
        let numbered = Array2::from_shape_fn((x.nrows(), 1), |(row, _)| row as f32);
        let rows = KMeans { clusters, rounds: 0, seed, start: Start::Random }.fit(numbered.view()).unwrap().means;
        prop_assert!(clusters > x.nrows() || distinct(&rows).len() == clusters);
    }

    #[test]
    fn residual_codes_are_the_nearest_to_any_depth(
        (tables, x) in (1usize..14, 1usize..6, 1usize..9).prop_flat_map(|(levels, width, codes)| {
            (vec(matrix(codes..codes + 1, width), levels), matrix(0..20, width))
        }),
    ) {
        let quantizer = ResidualQuantizer::new(tables.clone());
        let codes = quantizer.encode(x.view());
        prop_assert_eq!(codes.dim(), (tables.len(), x.nrows()));
        let mut residual = lists(&x);
        for (level, table) in tables.iter().enumerate() {
            let table = lists(table);
            for (row, &code) in residual.iter_mut().zip(codes.row(level)) {
                let all: Vec<f64> = table.iter().map(|code| distance(row, code)).collect();
                prop_assert!(all.iter().all(|d| all[code as usize] <= *d));
                row.iter_mut().zip(&table[code as usize]).for_each(|(value, code)| *value -= code);
            }
            let left = &x - &quantizer.decode(codes.slice(s![..=level, ..]));
            assert_close(&left, &residual, "what is left");
        }
    }
}

// ---- training

fn training(x: &Array2<f32>, dropout: Option<Dropout>, seed: u64) -> ResidualTrainer {
    let training = ResidualTraining { levels: 5, codes: 6, rounds: 2, dropout, seed, ..ResidualTraining::default() };
    ResidualTrainer::new(&training, x.view(), &mut Alone).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_level_leaves_less(x in matrix(30..60, 4), seed in any::<u64>()) {
        let mut trainer = training(&x, None, seed);
        let steps = trainer.step(x.view(), &mut Alone).unwrap();
        prop_assert_eq!(steps.len(), 5);
        let energy = x.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / x.len() as f64;
        let errors: Vec<f64> = std::iter::once(energy).chain(steps.iter().map(|step| step.error)).collect();
        prop_assert!(errors.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-5) + 1e-9), "{:?}", errors);
        let sum = steps.iter().fold(Array2::<f32>::zeros(x.raw_dim()), |sum, step| sum + step.quantized());
        let left = (&x - &sum).iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / x.len() as f64;
        prop_assert!((left - errors[5]).abs() < 1e-5);
    }

    #[test]
    fn dropped_levels_stay(x in matrix(30..60, 3), least in 1usize..=5, share in 0.0..=1.0, seed in any::<u64>()) {
        let mut trainer = training(&x, Some(Dropout { share, least }), seed);
        for _ in 0..4 {
            let before: Vec<EmaParts> = trainer.levels().iter().map(EmaCodebook::parts).collect();
            let trained = trainer.step(x.view(), &mut Alone).unwrap().len();
            prop_assert!((least..=5).contains(&trained));
            for (level, before) in before.iter().enumerate() {
                prop_assert_eq!(trainer.levels()[level].parts() == *before, level >= trained);
            }
        }
    }
}

#[test]
fn dropout_leaves_every_number_of_levels_alike() {
    let x = Array2::from_shape_fn((20, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f32);
    let counts = |share| {
        let mut trainer = training(&x, Some(Dropout { share, least: 2 }), 4);
        let mut counts = [0; 6];
        (0..2000).for_each(|_| counts[trainer.step(x.view(), &mut Alone).unwrap().len()] += 1);
        counts
    };
    assert_eq!(counts(0.0), [0, 0, 0, 0, 0, 2000]);
    // 500 expected of each; the standard deviation is 19.
    let always = counts(1.0);
    assert!(always[..2] == [0, 0] && always[2..].iter().all(|count| (420..580).contains(count)), "{always:?}");
    // A fifth of a half for each number, and the other half with all.
    let half = counts(0.5);
    assert!(half[2..5].iter().all(|count| (190..310).contains(count)), "{half:?}");
}

#[test]
fn k_means_plus_plus_draws_by_squared_distance() {
    let x = Array2::from_shape_vec((3, 1), vec![0.0, 1.0, 3.0]).unwrap();
    let mut pairs = [[0.0f64; 4]; 4];
    for seed in 0..6000 {
        let means = KMeans { clusters: 2, rounds: 0, seed, start: Start::PlusPlus }.fit(x.view()).unwrap().means;
        pairs[means[[0, 0]] as usize][means[[1, 0]] as usize] += 1.0 / 6000.0;
    }
    // From 0 the squares are 1 and 9, from 1 they are 1 and 4, from 3 they are 9 and 4.
    let expected = [(0, 1, 0.1), (0, 3, 0.9), (1, 0, 0.2), (1, 3, 0.8), (3, 0, 9.0 / 13.0), (3, 1, 4.0 / 13.0)];
    for (first, second, chance) in expected {
        // Five standard deviations of a share of 6000 draws are 0.032 at most.
        assert!((pairs[first][second] - chance / 3.0).abs() < 0.03, "{first} {second}: {pairs:?}");
    }
}

// ---- what is refused, and what is hard

#[test]
fn large_and_tiny_values_stay_numbers() {
    for scale in [1e15f32, 1e-30, 1e-44, 0.0] {
        let x = Array2::from_shape_fn((50, 3), |(i, j)| if (i + j) % 3 == 0 { scale } else { -scale / 2.0 });
        let mut trainer = training(&x, None, 0);
        for step in trainer.step(x.view(), &mut Alone).unwrap() {
            assert!(step.error.is_finite());
        }
        let finite = |row: ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
        assert!(trainer.levels().iter().all(|level| level.codes().table().axis_iter(Axis(0)).all(finite)));
    }
}

/// Draws that are no draws.
struct Bad(Vec<usize>);

impl Draws for Bad {
    fn rows(&mut self, _n: usize, _count: usize) -> Vec<usize> {
        self.0.clone()
    }

    fn noise(&mut self, _row: usize, width: usize) -> Vec<f32> {
        vec![0.0; width]
    }
}

#[test]
fn what_makes_no_step_is_an_error_and_changes_nothing() {
    let table = Array2::from_shape_fn((3, 2), |(i, j)| (100 * i + j) as f32);
    let x = Array2::ones((4, 2));
    let mut codebook = EmaCodebook::new(table.clone(), EmaRule::tats()).unwrap();
    let before = codebook.parts();
    let mut fails = |x: &Array2<f32>, rows: Vec<usize>| {
        codebook.step(x.view(), &mut Bad(rows), &mut Alone).unwrap_err().to_string()
    };
    assert_eq!(fails(&x, vec![0, 1, 4]), "row that was drawn is 4, expected a row below 4");
    assert_eq!(fails(&x, vec![0, 1]), "number of rows drawn is 2, expected 3");
    assert_eq!(fails(&Array2::ones((4, 3)), vec![]), "width of the vectors is 3, expected 2");
    assert_eq!(fails(&Array2::ones((0, 2)), vec![]), "number of vectors of all workers is 0, expected at least 1");
    let large = fails(&(&x * 2e15), vec![]);
    assert_eq!(large, "value 0 of vector 0 is 2000000000000000, expected a number up to 1e15 in size");
    assert_eq!(codebook.parts(), before);

    let refused = |rule: EmaRule| EmaCodebook::new(table.clone(), rule).is_err();
    let revival = |revival| refused(EmaRule { revival: Some(revival), ..EmaRule::default() });
    assert!(refused(EmaRule { decay: 1.1, ..EmaRule::default() }));
    assert!(refused(EmaRule { noise: f64::NAN, ..EmaRule::default() }));
    assert!(refused(EmaRule { smoothing: Smoothing::AtLeast(-1.0), ..EmaRule::default() }));
    assert!(revival(Revival { every: 0, ..Revival::default() }));
    assert!(revival(Revival { threshold: Threshold::Share(-0.1), ..Revival::default() }));
    assert!(revival(Revival { state: RevivedState::Ratio(f64::INFINITY), ..Revival::default() }));
    assert!(!revival(Revival::default()));
    let parts = EmaParts { sizes: vec![1.0, f32::NAN, 1.0], ..before.clone() };
    assert!(EmaCodebook::from_parts(parts, EmaRule::default()).is_err());
    let parts = EmaParts { table: Array2::from_elem(before.table.raw_dim(), 1e20), ..before.clone() };
    assert!(EmaCodebook::from_parts(parts, EmaRule::default()).is_err());
    assert!(EmaCodebook::from_parts(EmaParts { sizes: vec![1.0; 2], ..before }, EmaRule::default()).is_err());
}

#[test]
fn training_that_makes_no_sense_is_refused() {
    let x = Array2::ones((4, 2));
    let fails = |training: ResidualTraining| ResidualTrainer::new(&training, x.view(), &mut Alone).is_err();
    let small = ResidualTraining { levels: 2, codes: 2, ..ResidualTraining::default() };
    assert!(!fails(small));
    assert!(fails(ResidualTraining { levels: 0, ..small }) && fails(ResidualTraining { codes: 0, ..small }));
    for (share, least) in [(1.5, 1), (-0.5, 1), (0.5, 0), (0.5, 3)] {
        assert!(fails(ResidualTraining { dropout: Some(Dropout { share, least }), ..small }));
    }
    let trainer = ResidualTrainer::new(&small, x.view(), &mut Alone).unwrap();
    let resumed = |levels: &[EmaCodebook]| ResidualTrainer::resumed(&small, levels.to_vec(), trainer.draws().clone());
    assert!(resumed(trainer.levels()).is_ok() && resumed(&trainer.levels()[..1]).is_err());
}
