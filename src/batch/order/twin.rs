//! The order once more, slow and plain: everything is an array.

use proptest::prelude::*;

use super::lane::Purpose;
use super::permutation::{Permutation, mix};
use super::*;
use crate::window::Window;

/// All views of a source, with their lengths.
fn views(source: &Source, options: &OrderOptions) -> Vec<(u32, u32, usize)> {
    let mut views = Vec::new();
    for (segment, &length) in source.lengths.iter().enumerate() {
        let length = length as usize;
        let spans: Vec<usize> = match options.crop {
            Crop::Whole => vec![length],
            Crop::Random { frames } => vec![length.min(frames)],
            Crop::Windows { frames, hop } => {
                Window::new(frames, hop).unwrap().spans(length).map(|span| span.len()).collect()
            }
        };
        let sides = if options.both_sides { 2 } else { 1 };
        let each = spans.iter().flat_map(|&frames| std::iter::repeat_n(frames, sides));
        each.enumerate().for_each(|(view, frames)| views.push((segment as u32, view as u32, frames)));
    }
    views
}

fn permuted<T: Clone>(of: &[T], key: u64) -> Vec<T> {
    let permutation = Permutation::new(of.len() as u64, key);
    (0..of.len()).map(|place| of[permutation.at(place as u64) as usize].clone()).collect()
}

/// One pass through a source.
fn pass(number: usize, source: &Source, options: &OrderOptions, pass: u64) -> Vec<Seat> {
    let views = views(source, options);
    let key = mix(&[options.seed, Purpose::Pass as u64, number as u64, pass]);
    let order = match options.shuffle {
        Shuffle::Stored => views,
        Shuffle::Blocks if !source.blocks.is_empty() => {
            let of_block = |(number, block): (usize, &Range<usize>)| {
                let block: Vec<_> = views.iter().filter(|view| block.contains(&(view.0 as usize))).copied().collect();
                permuted(&block, mix(&[key, Purpose::Block as u64, number as u64]))
            };
            let blocks: Vec<_> = source.blocks.iter().enumerate().map(of_block).collect();
            permuted(&blocks, key).concat()
        }
        _ => permuted(&views, key),
    };
    let seat = |(segment, view, frames)| Seat { item: Item { source: number as u32, segment, view, pass }, frames };
    order.into_iter().map(seat).collect()
}

/// The global batches of an epoch, of sources of weight 1, 2 or 3 halves.
fn epoch(sources: &[(Source, u64)], options: &OrderOptions, epoch: u64) -> Vec<Planned> {
    let mut merged = Vec::new();
    for (number, (source, halves)) in sources.iter().enumerate() {
        let len = views(source, options).len() as u64;
        let (first, end) = (len * halves * epoch / 2, len * halves * (epoch + 1) / 2);
        let endless: Vec<Seat> = (0..halves * (epoch + 1)).flat_map(|p| pass(number, source, options, p)).collect();
        for (i, &seat) in endless[first as usize..end as usize].iter().enumerate() {
            let point = match options.shuffle {
                Shuffle::Stored => 0,
                _ => (2 * i as u128 + 1) * (1 << 64) / u128::from(end - first),
            };
            merged.push((point, number, i, seat));
        }
    }
    merged.sort_by_key(|&(point, number, i, _)| (point, number, i));
    // Within a pool sources stand one behind the other.
    let size = options.rows() * (options.pool / options.rows()).max(1);
    let pools = merged.chunks(size).enumerate().map(|(number, pool)| {
        let mut pool = pool.to_vec();
        pool.sort_by_key(|&(_, number, i, _)| (number, i));
        let seats: Vec<Seat> = pool.into_iter().map(|(.., seat)| seat).collect();
        batches(&seats, options, epoch, number as u64)
    });
    match options.packing {
        None => pools.flatten().collect(),
        Some(_) => {
            let rows: Vec<Vec<Item>> = pools.flatten().flat_map(|rows| rows.rows).collect();
            rows.chunks(options.rows()).map(|rows| planned(rows.to_vec(), options)).collect()
        }
    }
}

fn planned(mut rows: Vec<Vec<Item>>, options: &OrderOptions) -> Planned {
    rows.resize(options.rows(), vec![]);
    Planned { width: Width::Steps(options.packing.unwrap().steps), rows }
}

/// The batches of a pool; packed, each of its rows by itself.
fn batches(seats: &[Seat], options: &OrderOptions, epoch: u64, number: u64) -> Vec<Planned> {
    let key = |purpose: Purpose| mix(&[options.seed, purpose as u64, epoch, number]);
    let turn = |of: Vec<Vec<Seat>>| match options.shuffle {
        Shuffle::Stored => of,
        _ => permuted(&of, key(Purpose::Batches)),
    };
    let stored = options.shuffle == Shuffle::Stored;
    let gathered: Vec<usize> = (0..seats.len()).collect();
    let mut mixed = if stored { gathered } else { permuted(&gathered, key(Purpose::Pool)) };
    if options.pooling || options.packing.is_some() {
        mixed.sort_by_key(|&seat| std::cmp::Reverse(seats[seat].frames));
    }
    let rows = options.rows();
    let Some(packing) = options.packing else {
        let batches = mixed.chunks(rows).map(|batch| batch.iter().map(|&seat| seats[seat]).collect()).collect();
        let planned = |batch: &Vec<Seat>| {
            let mut items: Vec<_> = batch.iter().map(|seat| vec![seat.item]).collect();
            items.resize(rows, vec![]);
            Planned { width: Width::Frames(batch.iter().map(|seat| seat.frames).max().unwrap()), rows: items }
        };
        return turn(batches).iter().map(planned).collect();
    };
    let lengths: Vec<u32> = mixed.iter().map(|&seat| seats[seat].frames as u32).collect();
    let of_row = |row: Vec<usize>| {
        let mut row: Vec<usize> = row.into_iter().map(|number| mixed[number]).collect();
        row.sort_unstable();
        row.into_iter().map(|seat| seats[seat]).collect()
    };
    let packed = turn(packing.rows(&lengths).unwrap().into_iter().map(of_row).collect());
    let items = |row: Vec<Seat>| vec![row.iter().map(|seat| seat.item).collect()];
    packed.into_iter().map(|row| Planned { width: Width::Steps(packing.steps), rows: items(row) }).collect()
}

fn sources() -> impl Strategy<Value = Vec<(Source, u64)>> {
    let source = (prop::collection::vec(0..60_u32, 0..80), 1..9_usize, any::<bool>(), 1..4_u64);
    let source = source.prop_map(|(lengths, size, in_blocks, halves)| {
        let len = lengths.len();
        let blocks = (0..len).step_by(size).map(|first| first..len.min(first + size));
        let blocks = if in_blocks { blocks.collect() } else { Vec::new() };
        (Source { lengths: lengths.into(), blocks, weight: halves as f64 / 2.0 }, halves)
    });
    prop::collection::vec(source, 0..4)
}

fn options() -> impl Strategy<Value = OrderOptions> {
    let crop = prop_oneof![
        Just(Crop::Whole),
        (1..50_usize).prop_map(|frames| Crop::Random { frames }),
        (1..30_usize, 1..40_usize).prop_map(|(frames, hop)| Crop::Windows { frames, hop }),
    ];
    let shuffle = prop_oneof![Just(Shuffle::Blocks), Just(Shuffle::Full), Just(Shuffle::Stored)];
    let packing = prop::option::of(
        (60..200_usize, 0..5_usize)
            .prop_map(|(steps, overhead)| crate::batch::Packing { steps: steps + overhead, overhead }),
    );
    (any::<u64>(), 1..5_usize, 1..5_usize, 1..90_usize, any::<[bool; 2]>(), shuffle, crop, packing).prop_map(
        |(seed, batch, world, pool, [pooling, both_sides], shuffle, crop, packing)| OrderOptions {
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

proptest! {
    #[test]
    fn an_order_is_what_arrays_and_a_sort_give(sources in sources(), options in options(), number in 0..4_u64) {
        let order = Order::new(sources.iter().map(|(source, _)| source.clone()).collect(), options.clone()).unwrap();
        let expected = epoch(&sources, &options, number);
        prop_assert_eq!(order.steps(number).unwrap(), expected.len() as u64);
        for (step, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&order.batch(Place { epoch: number, step: step as u64 }).unwrap(), expected);
        }
        let behind = Place { epoch: number, step: expected.len() as u64 };
        prop_assert!(order.batch(behind).is_err());
    }
}
