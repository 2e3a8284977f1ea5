//! Pitch: the fundamental frequency of each sub-frame and how strongly it is voiced.

use super::SUB;

/// Pitch and its strength at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pitch {
    /// Fundamental frequency in Hz; where nothing is voiced, interpolated between voiced parts.
    pub(super) f0: f32,
    /// 0 for no voice to 1 for a fully periodic sound.
    pub(super) voicing: f32,
}

/// Samples are averaged and taken every sixth: 4 kHz hold the first harmonics of any voice.
const DECIMATION: usize = 6;
const RATE: f32 = 4000.0;
/// Longest and shortest period looked for, in samples at 4 kHz: 58 to 400 Hz.
const LONGEST: usize = 68;
const SHORTEST: usize = 10;
/// Samples compared with those one period later: 30 ms.
const WINDOW: usize = 120;
/// Energy added to both sides of the comparison, so that faint noise counts as unvoiced.
const FLOOR: f32 = WINDOW as f32 * 1e-8;
/// Periods kept for each sub-frame.
const KEPT: usize = 4;
/// Pitch where a recording has none at all.
const USUAL: f32 = 130.0;

/// A possible state of one sub-frame: a period, or unvoiced (period 0).
#[derive(Debug, Clone, Copy)]
struct Candidate {
    period: f32,
    strength: f32,
    cost: f32,
}

/// Follows the pitch through `count` sub-frames.
///
/// Each sub-frame offers the peaks of its normalised cross-correlation and "unvoiced"; the cheapest
/// way through all of them is taken (dynamic programming), so a single octave error is outvoted by
/// its neighbours.
///
/// # Source
/// D. Talkin, "A robust algorithm for pitch tracking (RAPT)", 1995; costs adapted to 10 ms steps.
pub(super) fn track(samples: &[f32], count: usize) -> Vec<Pitch> {
    let low = decimate(samples);
    let offered: Vec<Vec<Candidate>> =
        (0..count).map(|sub| candidates(&low, ((sub * SUB + SUB / 2) / DECIMATION) as isize)).collect();
    let mut path = cheapest(&offered);
    drop_short(&mut path);
    fill(&path)
}

/// Low-pass filtered at 1 kHz, every sixth sample, without what lies below speech.
fn decimate(samples: &[f32]) -> Vec<f32> {
    const HALF: isize = 48;
    let cutoff = 2.0 * 1000.0 / 24_000.0;
    let taps: Vec<f32> = (-HALF..=HALF)
        .map(|n| {
            let x = n as f32 * std::f32::consts::PI;
            let sinc = if n == 0 { cutoff } else { (x * cutoff).sin() / x };
            sinc * (0.5 + 0.5 * (x / (HALF + 1) as f32).cos())
        })
        .collect();
    let (mut mean, mut rest) = (0.0, 0.0);
    (0..samples.len().div_ceil(DECIMATION))
        .map(|index| {
            let centre = (index * DECIMATION) as isize;
            let value: f32 = taps.iter().zip(centre - HALF..).map(|(tap, at)| tap * sample(samples, at)).sum();
            // Two first-order high-pass filters at 64 Hz: mains hum is periodic too, and no voice.
            mean += (value - mean) * 0.1;
            rest += (value - mean - rest) * 0.1;
            value - mean - rest
        })
        .collect()
}

/// The sample at `index`, 0 outside.
fn sample(samples: &[f32], index: isize) -> f32 {
    usize::try_from(index).ok().and_then(|index| samples.get(index)).copied().unwrap_or(0.0)
}

/// The best periods around `centre` (in samples at 4 kHz), and "unvoiced" first.
fn candidates(low: &[f32], centre: isize) -> Vec<Candidate> {
    let span: Vec<f32> = {
        let reach = ((WINDOW + LONGEST + 2) / 2) as isize;
        (centre - reach..=centre + reach).map(|at| sample(low, at)).collect()
    };
    let similarity: Vec<f32> = (SHORTEST - 1..=LONGEST + 1).map(|lag| correlation(&span, lag)).collect();
    let mut peaks: Vec<Candidate> = (1..similarity.len() - 1)
        .filter(|&at| {
            similarity[at] > 0.25 && similarity[at] > similarity[at - 1] && similarity[at] >= similarity[at + 1]
        })
        .map(|at| peak(&similarity, at))
        .collect();
    peaks.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    peaks.truncate(KEPT);
    let strongest = peaks.iter().map(|peak| peak.strength).fold(0.0, f32::max);
    peaks.insert(0, Candidate { period: 0.0, strength: 0.0, cost: 0.05 + strongest });
    peaks
}

/// The peak at index `at`, refined by a parabola through its neighbours. Long periods cost a little
/// more, as every multiple of the true period also fits.
fn peak(similarity: &[f32], at: usize) -> Candidate {
    let (left, middle, right) = (similarity[at - 1], similarity[at], similarity[at + 1]);
    let shift = 0.5 * (left - right) / (left - 2.0 * middle + right).min(-1e-9);
    let period = (at + SHORTEST - 1) as f32 + shift;
    let strength = (middle - 0.25 * (left - right) * shift).clamp(0.0, 1.0);
    Candidate { period, strength, cost: 1.0 - strength * (1.0 - 0.2 * period / LONGEST as f32) }
}

/// Normalised correlation of two windows `lag` apart, placed evenly around the middle of `span`.
fn correlation(span: &[f32], lag: usize) -> f32 {
    let start = (span.len() - WINDOW - lag) / 2;
    let (a, b) = (&span[start..start + WINDOW], &span[start + lag..start + lag + WINDOW]);
    let (mut ab, mut aa, mut bb) = (0.0, FLOOR, FLOOR);
    for (&x, &y) in a.iter().zip(b) {
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa * bb).sqrt()
}

/// What it costs to go from one state to the next, 10 ms later.
fn step(from: Candidate, to: Candidate) -> f32 {
    match (from.period > 0.0, to.period > 0.0) {
        (false, false) => 0.0,
        (true, true) => (1.5 * (from.period / to.period).ln().abs()).min(0.7),
        _ => 0.15,
    }
}

/// The cheapest way through the candidates (Viterbi); of equals the first.
fn cheapest(offered: &[Vec<Candidate>]) -> Vec<Candidate> {
    let mut cost: Vec<f32> = Vec::new();
    let mut back: Vec<Vec<usize>> = Vec::with_capacity(offered.len());
    for (index, now) in offered.iter().enumerate() {
        let reach = |to: &Candidate| {
            let ways = cost.iter().enumerate().map(|(at, &cost)| (cost + step(offered[index - 1][at], *to), at));
            ways.fold((f32::INFINITY, 0), |best, way| if way.0 < best.0 { way } else { best })
        };
        let reached: Vec<(f32, usize)> = now.iter().map(|to| if index == 0 { (0.0, 0) } else { reach(to) }).collect();
        cost = reached.iter().zip(now).map(|(way, to)| way.0 + to.cost).collect();
        back.push(reached.into_iter().map(|way| way.1).collect());
    }
    let mut at = (0..cost.len()).min_by(|&a, &b| cost[a].total_cmp(&cost[b])).unwrap_or(0);
    let mut path = Vec::with_capacity(offered.len());
    for (now, back) in offered.iter().zip(&back).rev() {
        path.push(now[at]);
        at = back[at];
    }
    path.reverse();
    path
}

/// Takes voiced parts that are too short for a voice (under 30 ms) as unvoiced.
fn drop_short(path: &mut [Candidate]) {
    for part in path.chunk_by_mut(|a, b| (a.period > 0.0) == (b.period > 0.0)).filter(|part| part.len() < 3) {
        part.iter_mut().for_each(|candidate| (candidate.period, candidate.strength) = (0.0, 0.0));
    }
}

/// Pitch for every sub-frame: gaps are filled in a straight line of the logarithm, ends held.
fn fill(path: &[Candidate]) -> Vec<Pitch> {
    let voiced: Vec<(usize, f32)> =
        path.iter().enumerate().filter(|(_, c)| c.period > 0.0).map(|(at, c)| (at, (RATE / c.period).ln())).collect();
    let mut next = 0;
    path.iter()
        .enumerate()
        .map(|(at, candidate)| {
            while next < voiced.len() && voiced[next].0 < at {
                next += 1;
            }
            let log = match (next.checked_sub(1).map(|before| voiced[before]), voiced.get(next)) {
                (Some((a, x)), Some(&(b, y))) => x + (y - x) * (at - a) as f32 / (b - a) as f32,
                (Some((_, x)), None) | (None, Some(&(_, x))) => x,
                (None, None) => USUAL.ln(),
            };
            Pitch { f0: log.exp(), voicing: ((candidate.strength - 0.3) / 0.6).clamp(0.0, 1.0) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pulse-like sound: ten harmonics of `f0`, one second.
    fn voice(f0: f32) -> Vec<f32> {
        let sample = |n: usize| {
            let phase = std::f32::consts::TAU * f0 * n as f32 / 24_000.0;
            (1..=10).map(|k| (phase * k as f32).cos() / k as f32).sum::<f32>() * 0.1
        };
        (0..24_000).map(sample).collect()
    }

    #[test]
    fn steady_voice_has_its_pitch_within_two_percent() {
        for f0 in [70.0, 110.0, 155.0, 220.0, 330.0] {
            for pitch in &track(&voice(f0), 100)[5..95] {
                assert!((pitch.f0 / f0 - 1.0).abs() < 0.02, "{pitch:?} for {f0} Hz");
                assert!(pitch.voicing > 0.9);
            }
        }
    }

    #[test]
    fn silence_is_unvoiced() {
        assert!(track(&[0.0; 2400], 10).iter().all(|pitch| pitch.voicing == 0.0 && (pitch.f0 - USUAL).abs() < 0.01));
        assert!(track(&[], 0).is_empty());
    }
}
