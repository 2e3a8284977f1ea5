//! Rules, codebooks and batches drawn at random.

use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::codebook::{
    Alone, Draw, EmaCodebook, EmaParts, EmaRule, EmaStep, Metric, Moment, Revival, RevivedState, SeededDraws,
    Smoothing, Threshold,
};

pub fn threshold() -> impl Strategy<Value = Threshold> {
    prop_oneof![
        (0.0..4.0).prop_map(Threshold::Count),
        (0.0..0.3).prop_map(Threshold::Share),
        (0.0..2.0).prop_map(Threshold::Ratio)
    ]
}

fn revival() -> impl Strategy<Value = Revival> {
    let moment = prop_oneof![Just(Moment::BeforeEma), Just(Moment::AfterEma)];
    let draw = prop_oneof![Just(Draw::EachCode), Just(Draw::EachDead)];
    let state = prop_oneof![
        Just(RevivedState::Kept),
        (0.1..5.0).prop_map(RevivedState::Size),
        (0.1..2.0).prop_map(RevivedState::Ratio)
    ];
    (threshold(), 1u64..4, moment, draw, state).prop_map(|(threshold, every, moment, draw, state)| Revival {
        threshold,
        every,
        moment,
        draw,
        state,
    })
}

fn rule() -> impl Strategy<Value = EmaRule> {
    let decay = prop_oneof![Just(0.0), Just(0.5), Just(0.99), Just(1.0)];
    let smoothing = prop_oneof![
        (1e-7..1e-2).prop_map(Smoothing::Laplace),
        Just(Smoothing::AtLeast(1e-5)),
        Just(Smoothing::AtLeast(0.0))
    ];
    let metric = prop_oneof![3 => Just(Metric::Euclidean), 1 => Just(Metric::Cosine)];
    let noise = prop_oneof![Just(0.0), Just(0.01)];
    let parts = (decay, smoothing, metric, proptest::option::weighted(0.8, revival()), noise);
    parts.prop_map(|(decay, smoothing, metric, revival, noise)| EmaRule { decay, smoothing, metric, revival, noise })
}

pub fn matrix(rows: std::ops::Range<usize>, width: usize) -> impl Strategy<Value = Array2<f32>> {
    // Eighths: many are equal, and distances between them are exact.
    vec(vec((-32i8..32).prop_map(|value| f32::from(value) / 8.0), width), rows)
        .prop_map(move |rows| Array2::from_shape_vec((rows.len(), width), rows.concat()).unwrap())
}

#[derive(Debug, Clone)]
pub struct Drawn {
    pub parts: EmaParts,
    pub rule: EmaRule,
    pub x: Array2<f32>,
    pub seed: u64,
}

impl Drawn {
    pub fn codebook(&self) -> EmaCodebook {
        EmaCodebook::from_parts(self.parts.clone(), self.rule).unwrap()
    }

    pub fn step(&self, rule: EmaRule) -> (EmaStep, EmaParts) {
        let mut codebook = EmaCodebook::from_parts(self.parts.clone(), rule).unwrap();
        let step = codebook.step(self.x.view(), &mut SeededDraws::new(self.seed), &mut Alone).unwrap();
        (step, codebook.parts())
    }
}

pub fn drawn() -> impl Strategy<Value = Drawn> {
    let shaped = (1usize..12, 1usize..20).prop_flat_map(|(codes, width)| {
        let sizes = vec((0u8..24).prop_map(|size| f32::from(size) / 4.0), codes);
        (matrix(codes..codes + 1, width), sizes, matrix(codes..codes + 1, width), 0u64..6, matrix(1..40, width))
    });
    (shaped, rule(), any::<u64>()).prop_map(|((table, sizes, sums, steps, x), rule, seed)| Drawn {
        parts: EmaParts { table, sizes, sums, steps },
        rule,
        x,
        seed,
    })
}
