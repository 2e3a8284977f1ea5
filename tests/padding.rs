//! How much is padded, of lengths as they are in speech.

use roundelay::batch::{Crop, Item, Order, OrderOptions, Packing, Place, Planned, Source, Width};

fn epoch(order: &Order, epoch: u64) -> Vec<Planned> {
    (0..order.steps(epoch).unwrap()).map(|step| order.batch(Place { epoch, step }).unwrap()).collect()
}

/// Draws of the standard normal distribution.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Frames of segments whose seconds are log-normal: median 8, sigma 0.6, at 12.5 frames a second.
fn log_normal(len: usize, seed: u64) -> Vec<u32> {
    let mut normal = Normal(seed);
    (0..len).map(|_| (8.0 * (0.6 * normal.next()).exp() * 12.5).ceil() as u32).collect()
}

fn log_normal_order(len: usize, options: OrderOptions) -> Order {
    Order::new(vec![Source::new(log_normal(len, 5))], OrderOptions { seed: 5, ..options }).unwrap()
}

#[test]
fn pools_of_like_lengths_pad_below_two_percent() {
    let share = |len, options| log_normal_order(len, options).padding(0).unwrap().share();
    let (pooled, mixed) = (OrderOptions::default(), OrderOptions { pooling: false, ..OrderOptions::default() });
    let (with, without) = (share(20_000, pooled.clone()), share(20_000, mixed));
    println!("batch 16: {:.2} % padding with pools, {:.1} % without", 100.0 * with, 100.0 * without);
    assert!(with < 0.02 && without > 0.2);
    let shared = OrderOptions { world: 8, batch: 2, ..pooled.clone() };
    assert_eq!(share(20_000, shared), with);
    let wide = OrderOptions { world: 8, pool: 8 * 16_384, ..pooled.clone() };
    let ranks = share(160_000, wide);
    println!("batch 16 on each of 8 ranks: {:.2} %", 100.0 * ranks);
    assert!(ranks < 0.02);
    println!("the same, pool of 16384: {:.2} %", 100.0 * share(160_000, OrderOptions { world: 8, ..pooled }));
}

#[test]
fn packed_rows_of_a_hundred_seconds_are_full() {
    let packing = Some(Packing { steps: 1250, overhead: 2 });
    let whole = Source::new(log_normal(20_000, 5));
    assert!(Order::new(vec![whole], OrderOptions { packing, ..OrderOptions::default() }).is_err(), "one is of 102 s");
    let crop = Crop::Random { frames: 1249 };
    let order = log_normal_order(20_000, OrderOptions { packing, crop, ..OrderOptions::default() });
    let padding = order.padding(0).unwrap();
    println!("{:.2} % of packed rows are filled", 100.0 * (1.0 - padding.share()));
    assert!(padding.share() < 0.03);
    let ranks = OrderOptions { packing, crop, world: 8, ..OrderOptions::default() };
    let ranks = log_normal_order(160_000, ranks).padding(0).unwrap();
    println!("on 8 ranks: {:.2} %", 100.0 * (1.0 - ranks.share()));
    assert!(ranks.share() < 0.03);
    // The figure is what the rows say.
    let batches = epoch(&order, 0);
    let columns = |row: &Vec<Item>| row.iter().map(|&item| order.cut(item).frames.len() + 2).sum::<usize>();
    let rows = batches.iter().flat_map(|batch| &batch.rows);
    let live: usize = rows.clone().map(|row| columns(row).saturating_sub(1)).sum();
    assert_eq!((padding.live, padding.cells), (live as u64, rows.count() as u64 * 1250));
}

#[test]
fn the_padding_is_that_of_the_batches() {
    let order = log_normal_order(3000, OrderOptions { world: 3, pool: 700, ..OrderOptions::default() });
    let (mut live, mut cells) = (0, 0);
    for batch in epoch(&order, 0) {
        let Width::Frames(width) = batch.width else { panic!("rows are not packed") };
        cells += (width * batch.rows.len()) as u64;
        live += batch.rows.iter().flatten().map(|&item| order.cut(item).frames.len() as u64).sum::<u64>();
    }
    let padding = order.padding(0).unwrap();
    assert_eq!((padding.live, padding.cells), (live, cells));
}
