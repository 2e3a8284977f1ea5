//! Laws of the order: nothing is missed or seen twice, ranks agree, and a run goes on where it stopped.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::batch::{Crop, Item, Order, OrderOptions, Packing, Place, Planned, Position, Shuffle, Source, Width};

/// A source as it was drawn, of so many segments and in blocks or not.
fn source(most: usize) -> impl Strategy<Value = Source> {
    let lengths = vec(0..400_u32, 0..most);
    (lengths, prop::option::of(vec(0..40_usize, 1..8))).prop_map(|(lengths, sizes)| {
        let blocks = sizes.map_or(Vec::new(), |sizes| blocks(lengths.len(), &sizes));
        Source { blocks, ..Source::new(lengths) }
    })
}

/// Blocks of such sizes, over and over; some are empty.
fn blocks(len: usize, sizes: &[usize]) -> Vec<Range<usize>> {
    let (mut blocks, mut first) = (Vec::new(), 0);
    for &size in sizes.iter().chain([&1]).cycle() {
        let end = len.min(first + size);
        blocks.push(first..end);
        if end == len {
            return blocks;
        }
        first = end;
    }
    blocks
}

fn options() -> impl Strategy<Value = OrderOptions> {
    let crop = prop_oneof![
        2 => Just(Crop::Whole),
        1 => (1..300_usize).prop_map(|frames| Crop::Random { frames }),
        1 => (20..300_usize, 20..400_usize).prop_map(|(frames, hop)| Crop::Windows { frames, hop }),
    ];
    let shuffle = prop_oneof![Just(Shuffle::Blocks), Just(Shuffle::Full), Just(Shuffle::Stored)];
    let packing = (400..2000_usize, 1..5_usize).prop_map(|(steps, overhead)| Packing { steps, overhead });
    let packing = prop_oneof![2 => Just(None), 1 => packing.prop_map(Some)];
    let numbers = (any::<u64>(), 1..7_usize, 1..9_usize, 1..400_usize);
    (numbers, any::<[bool; 2]>(), shuffle, crop, packing).prop_map(
        |((seed, batch, world, pool), [pooling, both_sides], shuffle, crop, packing)| OrderOptions {
            seed,
            batch,
            world,
            pool,
            pooling,
            shuffle,
            crop,
            both_sides,
            packing,
        },
    )
}

fn epoch(order: &Order, epoch: u64) -> Vec<Planned> {
    (0..order.steps(epoch).unwrap()).map(|step| order.batch(Place { epoch, step }).unwrap()).collect()
}

/// How often each view comes, over all rows.
fn counts<'a>(batches: impl IntoIterator<Item = &'a Planned>) -> BTreeMap<(u32, u32, u32), u64> {
    let mut counts = BTreeMap::new();
    for item in batches.into_iter().flat_map(|batch| batch.rows.iter().flatten()) {
        *counts.entry((item.source, item.segment, item.view)).or_insert(0) += 1;
    }
    counts
}

/// The views that there are, by the rule.
fn views(sources: &[Source], options: &OrderOptions) -> Vec<(u32, u32, u32)> {
    let mut views = Vec::new();
    for (s, source) in sources.iter().enumerate() {
        for (segment, &length) in source.lengths.iter().enumerate() {
            let stretches = match options.crop {
                Crop::Windows { frames, hop } => {
                    roundelay::window::Window::new(frames, hop).unwrap().spans(length as usize).count()
                }
                _ => 1,
            };
            let sides = if options.both_sides { 2 } else { 1 };
            views.extend((0..stretches * sides).map(|view| (s as u32, segment as u32, view as u32)));
        }
    }
    views
}

/// Checks the shape of every batch, and that ranks agree.
fn check_shapes(order: &Order, batches: &[Planned], number: u64) {
    let OrderOptions { batch, world, packing, .. } = *order.options();
    let frames = |item: &Item| order.cut(*item).frames.len();
    for (step, planned) in batches.iter().enumerate() {
        assert_eq!(planned.rows.len(), batch * world);
        assert!(planned.rows.iter().any(|row| !row.is_empty()));
        match planned.width {
            Width::Frames(width) => {
                assert!(planned.rows.iter().all(|row| row.len() <= 1));
                assert_eq!(planned.rows.iter().flatten().map(frames).max(), Some(width));
            }
            Width::Steps(steps) => {
                let Packing { steps: room, overhead } = packing.unwrap();
                let columns = |row: &Vec<Item>| row.iter().map(|item| frames(item) + overhead).sum::<usize>();
                assert!(steps == room && planned.rows.iter().all(|row| columns(row) <= room + 1));
            }
        }
        let at = Place { epoch: number, step: step as u64 };
        let ranks: Vec<_> = (0..world).map(|rank| order.of_rank(at, rank).unwrap()).collect();
        assert!(ranks.iter().all(|of| of.width == planned.width && of.rows.len() == batch));
        let joined: Vec<_> = (0..batch * world).map(|row| ranks[row % world].rows[row / world].clone()).collect();
        assert_eq!(joined, planned.rows);
    }
    assert!(order.of_rank(Place { epoch: number, step: 0 }, world).is_err());
}

proptest! {
    #[test]
    fn every_view_is_seen_once_an_epoch_and_ranks_agree(
        sources in vec(source(60), 0..4), options in options(), number in 0..1000_u64,
    ) {
        let order = Order::new(sources.clone(), options.clone()).unwrap();
        let batches = epoch(&order, number);
        check_shapes(&order, &batches, number);
        let counts = counts(&batches);
        prop_assert!(counts.values().all(|&count| count == 1));
        prop_assert!(counts.into_keys().eq(views(&sources, &options)));
        prop_assert!(batches.iter().flat_map(|batch| batch.rows.iter().flatten()).all(|item| item.pass == number));
    }

    #[test]
    fn parts_of_epochs_add_up(
        sources in vec((source(40), prop::sample::select(vec![0.0, 0.5, 1.0, 2.5, 1.0 / 3.0, 0.01])), 1..4),
        options in options(), epochs in 1..9_u64,
    ) {
        let sources: Vec<_> = sources.into_iter().map(|(source, weight)| Source { weight, ..source }).collect();
        let order = Order::new(sources.clone(), options.clone()).unwrap();
        let batches: Vec<_> = (0..epochs).flat_map(|number| epoch(&order, number)).collect();
        (0..epochs).for_each(|number| check_shapes(&order, &epoch(&order, number), number));
        let (counts, views) = (counts(&batches), views(&sources, &options));
        for (s, source) in sources.iter().enumerate() {
            let own: Vec<u64> = views.iter().filter(|view| view.0 == s as u32)
                .map(|view| counts.get(view).copied().unwrap_or(0)).collect();
            let (exact, all) = (source.weight * own.len() as f64 * epochs as f64, own.iter().sum::<u64>());
            // What the double says: a third is a little less.
            prop_assert!((all as f64) <= exact + 1e-9 && all as f64 > exact - 1.0 - 1e-9, "{} of {}", all, exact);
            let turns = all.checked_div(own.len() as u64).unwrap_or(0);
            prop_assert!(own.iter().all(|&count| count == turns || count == turns + 1), "{:?}", own);
        }
        prop_assert!(counts.keys().all(|view| views.binary_search(view).is_ok()));
    }

    #[test]
    fn a_resumed_run_goes_on_with_the_very_next_batch(
        sources in vec(source(60), 1..3), options in options(), start in 0..50_u64, stop in 0..200_u64,
    ) {
        let order = Order::new(sources.clone(), options.clone()).unwrap();
        let mut run = (0..).map_while(|n| order.after(Place { epoch: start, step: 0 }, n).unwrap());
        let Some(at) = run.nth(stop as usize) else {
            prop_assert!(views(&sources, &options).is_empty());
            return Ok(());
        };
        let kept = serde_json::to_string(&order.position(at)).unwrap();
        drop(order);
        // Another process, and other ranks as long as they share as many rows.
        let rows = options.rows();
        for world in (1..=8).filter(|world| rows % world == 0) {
            let options = OrderOptions { world, batch: rows / world, ..options.clone() };
            let (unbroken, resumed) = (Order::new(sources.clone(), options.clone()).unwrap(),
                Order::new(sources.clone(), options).unwrap());
            let position: Position = serde_json::from_str(&kept).unwrap();
            let found = resumed.seek(&position).unwrap();
            prop_assert_eq!(found, at);
            for n in 0..4 {
                let place = unbroken.after(Place { epoch: start, step: 0 }, stop + n).unwrap();
                prop_assert_eq!(resumed.after(found, n).unwrap(), place);
                let Some(place) = place else { break };
                prop_assert_eq!(resumed.batch(place).unwrap(), unbroken.batch(place).unwrap());
            }
        }
    }

    #[test]
    fn other_ranks_have_the_same_global_batches(sources in vec(source(60), 1..3), options in options()) {
        let rows = options.rows();
        let of = |world: usize| {
            let options = OrderOptions { world, batch: rows / world, ..options.clone() };
            epoch(&Order::new(sources.clone(), options).unwrap(), 3)
        };
        let one = of(1);
        let worlds: Vec<usize> = (1..=8).filter(|world| rows.is_multiple_of(*world)).collect();
        prop_assert!(worlds.into_iter().all(|world| of(world) == one));
    }

    #[test]
    fn an_evaluation_is_everything_once_in_order(sources in vec(source(60), 0..4), options in options()) {
        let weighed: Vec<_> = sources.iter().map(|source| Source { weight: 0.3, ..source.clone() }).collect();
        let order = Order::evaluation(weighed, options.clone()).unwrap();
        let batches = epoch(&order, 0);
        check_shapes(&order, &batches, 0);
        let (counts, views) = (counts(&batches), views(&sources, &options));
        prop_assert!(counts.values().all(|&count| count == 1) && counts.keys().eq(&views));
        let items: Vec<Item> = batches.iter().flat_map(|batch| batch.rows.iter().flatten().copied()).collect();
        if options.packing.is_none() && options.pooling {
            let rows = options.rows();
            let pools = items.chunks(rows * (options.pool / rows).max(1));
            let frames = |item: &Item| order.cut(*item).frames.len();
            prop_assert!(pools.clone().all(|pool| pool.iter().map(frames).is_sorted_by(|a, b| a >= b)));
            let stored = |pool: &[Item]| {
                let mut pool: Vec<_> = pool.iter().map(|item| (item.source, item.segment, item.view)).collect();
                pool.sort_unstable();
                pool
            };
            prop_assert!(pools.flat_map(stored).eq(views));
        } else if options.packing.is_none() {
            prop_assert!(items.iter().map(|item| (item.source, item.segment, item.view)).eq(views));
        }
        // Only the last batch has rows to spare.
        let full = batches.iter().rev().skip(1).all(|batch| batch.rows.iter().all(|row| !row.is_empty()));
        prop_assert!(full);
    }

    #[test]
    fn crops_lie_in_their_segment(sources in vec(source(30), 1..3), options in options(), number in 0..9_u64) {
        let order = Order::new(sources.clone(), options.clone()).unwrap();
        for item in epoch(&order, number).iter().flat_map(|batch| batch.rows.iter().flatten()) {
            let (cut, length) = (order.cut(*item), sources[item.source as usize].lengths[item.segment as usize]);
            prop_assert!(cut.frames.start <= cut.frames.end && cut.frames.end <= length as usize);
            prop_assert_eq!(cut.swapped, options.both_sides && item.view % 2 == 1);
            match options.crop {
                Crop::Whole => prop_assert_eq!(cut.frames, 0..length as usize),
                Crop::Random { frames } => prop_assert_eq!(cut.frames.len(), frames.min(length as usize)),
                Crop::Windows { frames, hop } => prop_assert!(cut.frames.start % hop == 0 && cut.frames.len() <= frames),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn large_corpora_are_seen_once_too(
        sources in vec(source(3000), 1..3), options in options(), pool in 1..5000_usize, number in 0..9_u64,
    ) {
        let options = OrderOptions { pool, ..options };
        let order = Order::new(sources.clone(), options.clone()).unwrap();
        let batches = epoch(&order, number);
        check_shapes(&order, &batches, number);
        let counts = counts(&batches);
        prop_assert!(counts.values().all(|&count| count == 1));
        prop_assert!(counts.into_keys().eq(views(&sources, &options)));
    }
}

/// Lengths without a pattern.
fn lengths(len: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        20 + (state >> 8) % 500
    };
    (0..len).map(next).collect()
}

#[test]
fn seeds_and_epochs_differ_and_repeat() {
    let options = |seed, shuffle| OrderOptions { seed, shuffle, pool: 100, batch: 4, ..OrderOptions::default() };
    let blocks = blocks(1000, &[30, 7]);
    let of = |seed, shuffle, number| {
        let source = Source { blocks: blocks.clone(), ..Source::new(lengths(1000, 1)) };
        epoch(&Order::new(vec![source], options(seed, shuffle)).unwrap(), number)
    };
    for shuffle in [Shuffle::Blocks, Shuffle::Full] {
        assert_eq!(of(1, shuffle, 0), of(1, shuffle, 0));
        assert_ne!(of(1, shuffle, 0), of(2, shuffle, 0));
        let passes = |batches: Vec<Planned>| batches.into_iter().flat_map(|batch| batch.rows.concat());
        let segments = |number| passes(of(1, shuffle, number)).map(|item| item.segment).collect::<Vec<_>>();
        assert_ne!(segments(0), segments(1));
    }
}

#[test]
fn a_block_is_read_in_one_pool_or_in_two_neighbours() {
    let source = Source { blocks: blocks(2000, &[40]), ..Source::new(lengths(2000, 3)) };
    let options = OrderOptions { pool: 200, batch: 4, ..OrderOptions::default() };
    let order = Order::new(vec![source.clone()], options).unwrap();
    let mut pools: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (step, batch) in epoch(&order, 0).iter().enumerate() {
        for item in batch.rows.iter().flatten() {
            let block = source.blocks.iter().position(|block| block.contains(&(item.segment as usize))).unwrap();
            pools.entry(block).or_default().push(step / 50);
        }
    }
    assert_eq!(pools.len(), source.blocks.len());
    let span = |pools: &Vec<usize>| pools.iter().max().unwrap() - pools.iter().min().unwrap();
    assert!(pools.values().all(|pools| span(pools) <= 1));
    assert!(pools.values().filter(|pools| span(pools) == 1).count() <= 10);
}

#[test]
fn positions_of_other_orders_are_refused_in_words() {
    let lengths = lengths(100, 2);
    let options = OrderOptions { batch: 8, world: 2, ..OrderOptions::default() };
    let order = |lengths: &[u32], options: &OrderOptions| {
        Order::new(vec![Source::new(lengths.to_vec())], options.clone()).unwrap()
    };
    let kept = order(&lengths, &options).position(Place { epoch: 2, step: 5 });
    let refusal =
        |lengths: &[u32], options: OrderOptions| order(lengths, &options).seek(&kept).unwrap_err().to_string();
    assert_eq!(
        refusal(&lengths, OrderOptions { world: 4, ..options.clone() }),
        "rows of a global batch is 32 (8 on 4 ranks), expected 16, as where the run stopped: a batch of 4 on each of 4 ranks"
    );
    assert_eq!(
        refusal(&lengths, OrderOptions { world: 3, ..options.clone() }),
        "rows of a global batch is 24 (8 on 3 ranks), expected 16, as where the run stopped, which 3 ranks cannot share evenly"
    );
    let other = refusal(&lengths[1..], options.clone());
    assert!(other.starts_with("hash of the corpus is ") && other.contains("check that the datasets"), "{other}");
    let mut swapped = lengths.clone();
    swapped.swap(3, 4);
    assert!(lengths[3] != lengths[4] && refusal(&swapped, options.clone()).contains("hash of the corpus"));
    for changed in [
        OrderOptions { seed: 1, ..options.clone() },
        OrderOptions { pool: 64, ..options.clone() },
        OrderOptions { pooling: false, ..options.clone() },
        OrderOptions { crop: Crop::Random { frames: 9 }, ..options.clone() },
        OrderOptions { both_sides: true, ..options.clone() },
        OrderOptions { packing: Some(Packing { steps: 5000, overhead: 2 }), ..options.clone() },
        OrderOptions { shuffle: Shuffle::Full, ..options.clone() },
    ] {
        assert!(refusal(&lengths, changed).contains("check seed, pool"));
    }
    let beyond = Position { step: 8, ..kept.clone() };
    let error = order(&lengths, &options).seek(&beyond).unwrap_err();
    assert_eq!(error.to_string(), "step is 8, expected at most 7, the steps of epoch 2");
    let behind = Position { step: 7, ..kept };
    let at = order(&lengths, &options).seek(&behind).unwrap();
    assert_eq!(order(&lengths, &options).after(at, 0).unwrap(), Some(Place { epoch: 3, step: 0 }));
}

#[test]
fn what_makes_no_order_is_refused() {
    let refusal = |source: Source, options: OrderOptions| Order::new(vec![source], options).unwrap_err().to_string();
    let (five, plain) = (Source::new(vec![5; 5]), OrderOptions::default());
    assert!(refusal(five.clone(), OrderOptions { batch: 0, ..plain.clone() }).starts_with("batch is 0"));
    assert!(refusal(five.clone(), OrderOptions { world: 0, ..plain.clone() }).starts_with("world is 0"));
    assert!(refusal(five.clone(), OrderOptions { pool: 0, ..plain.clone() }).starts_with("pool is 0"));
    assert!(
        refusal(five.clone(), OrderOptions { batch: 1 << 20, world: 1 << 20, ..plain.clone() })
            .contains("over the limit")
    );
    let blocks = |blocks: Vec<Range<usize>>| Source { blocks, ..five.clone() };
    assert_eq!(refusal(blocks(vec![0..2, 3..5]), plain.clone()), "block is 3..5, expected one that begins at 2");
    assert_eq!(refusal(blocks(vec![0..2, 2..4]), plain.clone()), "segments in blocks is 4, expected all 5");
    for weight in [-1.0, f64::NAN, f64::INFINITY, 1e7] {
        assert!(refusal(Source { weight, ..five.clone() }, plain.clone()).starts_with("weight of the source is"));
    }
    let packing = Some(Packing { steps: 5, overhead: 2 });
    assert_eq!(
        refusal(Source::new(vec![4, 3, 5]), OrderOptions { packing, ..plain.clone() }),
        "recording \"segment 2 of source 0\": length of the segment is 5 frames, expected at most 4 in a row of 5 steps; \
         crop it"
    );
    let nothing = Order::new(vec![Source { weight: 0.0, ..five }], plain).unwrap();
    assert_eq!((nothing.steps(7).unwrap(), nothing.after(Place::default(), 0).unwrap()), (0, None));
    assert_eq!(nothing.padding(0).unwrap().share(), 0.0);
}
