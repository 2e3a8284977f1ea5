//! Where a solver steps: from the first to the last time, with every point of the grid among its steps.
//!
//! ```text
//! grid 0, 0.5, 1    steps of 0.2    0    0.2    0.4  0.5  0.6    0.8    1
//!                                   |-----|-----|--|--|-----|-----|
//! ```

use crate::error::{Error, Result};

/// What is nearer than this is the same time: sums of steps in single precision are no nearer.
const NEAR: f64 = 1e-6;

/// One step of a solver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Where it begins.
    pub time: f64,
    /// How long it is.
    pub length: f64,
    /// Whether it ends at a point of the grid.
    pub to_grid: bool,
}

/// The steps of a grid: its own, or those of a step size with the grid's points among them.
///
/// # Errors
/// `Invalid` if the grid has less than two points, if they do not rise or leave 0 to 1, or if the step size is not at
/// least 0.000002 and below the grid's length.
pub(super) fn steps(grid: &[f64], step_size: Option<f64>) -> Result<Vec<Step>> {
    let (start, end) = check(grid)?;
    let between = match step_size {
        None => Vec::new(),
        Some(size) => even(start, end, size)?,
    };
    // All points of the grid, and what lies between them: nothing that was asked for is left out.
    let between = between.into_iter().filter(|&t| !is_near_one_of(grid, t)).map(|t| (t, false));
    let mut times: Vec<(f64, bool)> = grid.iter().map(|&t| (t, true)).chain(between).collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(times.windows(2).map(|t| Step { time: t[0].0, length: t[1].0 - t[0].0, to_grid: t[1].1 }).collect())
}

/// Whether a rising grid has a point that is the same time.
fn is_near_one_of(grid: &[f64], t: f64) -> bool {
    let next = grid.partition_point(|&point| point <= t - NEAR);
    grid.get(next).is_some_and(|&point| point < t + NEAR)
}

fn check(grid: &[f64]) -> Result<(f64, f64)> {
    let [start, .., end] = grid else {
        return Err(Error::invalid("number of points of the time grid", grid.len(), "2 or more"));
    };
    if let Some(n) = grid.iter().position(|t| !(0.0..=1.0).contains(t)) {
        return Err(Error::invalid(format!("time {n} of the grid"), grid[n], "0 to 1"));
    }
    match grid.windows(2).position(|t| t[1] - t[0] < NEAR) {
        Some(n) => {
            Err(Error::invalid(format!("time {} of the grid", n + 1), grid[n + 1], format!("more than {}", grid[n])))
        }
        None => Ok((*start, *end)),
    }
}

/// Times a step apart, between start and end.
fn even(start: f64, end: f64, size: f64) -> Result<Vec<f64>> {
    let length = end - start;
    // Times that are nearer than this would be the same to a point of the grid.
    let least = 2.0 * NEAR;
    if !(size >= least && size < length) {
        let expected = format!("{least} or more and below {length}, the length of the time grid");
        return Err(Error::invalid("step size", size, expected));
    }
    // A rest that is none but for rounding is no step.
    let steps = ((length - NEAR) / size).ceil();
    Ok((1..steps as usize).map(|n| start + n as f64 * size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(grid: &[f64], size: Option<f64>) -> Vec<f64> {
        let steps = steps(grid, size).unwrap();
        let last = steps.last().unwrap();
        steps.iter().map(|step| step.time).chain([last.time + last.length]).collect()
    }

    #[test]
    fn the_last_step_is_what_is_left() {
        assert_eq!(times(&[0.0, 1.0], Some(0.4)), [0.0, 0.4, 0.8, 1.0]);
        assert_eq!(times(&[0.0, 1.0], Some(0.1)).len(), 11);
        assert_eq!(times(&[0.0, 0.9], Some(0.3)).len(), 4, "0.9 / 0.3 is a little more than 3");
        assert_eq!(times(&[0.2, 0.7], None), [0.2, 0.7]);
    }

    #[test]
    fn points_that_steps_miss_become_steps() {
        assert_eq!(times(&[0.0, 0.5, 1.0], Some(0.4)), [0.0, 0.4, 0.5, 0.8, 1.0]);
        let grid = [0.0, 0.3, 1.0];
        let steps = steps(&grid, Some(0.1)).unwrap();
        assert_eq!(steps[3].time, grid[1], "the grid's own number");
        assert_eq!(steps.len(), 10, "three times 0.1 is 0.3 but for rounding");
        assert_eq!(
            steps.iter().filter(|step| step.to_grid).map(|step| (step.time * 10.0).round()).collect::<Vec<_>>(),
            [2.0, 9.0]
        );
    }

    /// Sizes as they come from a program in single precision.
    #[test]
    fn sizes_in_single_precision_leave_no_rest_and_miss_no_point() {
        let sizes = (2..500).map(|k| (k, f64::from(1.0 / k as f32))).chain([(100, f64::from(0.01_f32))]);
        for (k, size) in sizes {
            let grid = [0.0, (k / 2) as f64 / k as f64, 1.0];
            for grid in [&grid[..], &[0.0, 1.0]] {
                let steps = steps(grid, Some(size)).unwrap();
                assert_eq!(steps.len(), k, "{size}");
                let marked: Vec<_> = (0..k).filter(|&n| steps[n].to_grid).collect();
                let expected: Vec<_> = grid[1..].iter().map(|t| (t * k as f64).round() as usize - 1).collect();
                assert_eq!(marked, expected, "{size}");
                assert!(steps.iter().all(|step| (step.length - size).abs() < 1e-6), "{size}");
            }
        }
    }

    #[test]
    fn without_a_size_all_steps_are_the_grid_s_however_short() {
        let grid: Vec<f64> = (0..=100_000).map(|n| f64::from(n) * 1e-5).collect();
        let steps = steps(&grid, None).unwrap();
        assert!(steps.iter().all(|step| step.to_grid));
        assert!(steps.iter().map(|step| step.time).eq(grid[..100_000].iter().copied()));
        // Points so near each other that one even time is the same as both.
        let near = [0.0, 0.4999994, 0.5000006, 1.0];
        assert_eq!(times(&near, Some(0.25)), [0.0, 0.25, near[1], near[2], 0.75, 1.0]);
    }

    #[test]
    fn grids_and_sizes_that_are_none_are_refused() {
        let refused = |grid: &[f64], size| steps(grid, size).unwrap_err().to_string();
        assert_eq!(refused(&[0.0], None), "number of points of the time grid is 1, expected 2 or more");
        assert_eq!(refused(&[0.0, 1.5], None), "time 1 of the grid is 1.5, expected 0 to 1");
        assert_eq!(refused(&[0.0, 0.5, 0.5, 1.0], None), "time 2 of the grid is 0.5, expected more than 0.5");
        let size =
            |size| format!("step size is {size}, expected 0.000002 or more and below 1, the length of the time grid");
        for wrong in [1.0, 0.0, 1.9e-6, -0.5, f64::NAN] {
            assert_eq!(refused(&[0.0, 1.0], Some(wrong)), size(wrong));
        }
        assert_eq!(steps(&[0.0, 1.0], Some(2e-6)).unwrap().len(), 500_000);
    }
}
