//! Regions of time that count for more or for less in the loss: `[[start, end, weight], ..]`.

use super::json::{Document, Value};
use crate::error::Result;
use crate::weights::Region;

pub fn parse(text: &str) -> Result<Vec<Region>> {
    regions(&Document { what: "file of regions", text }.value()?)
}

/// A list of regions, in a file of its own or beside the words.
pub fn regions(list: &Value) -> Result<Vec<Region>> {
    let mut regions = Vec::new();
    list.each("[[start, end, weight], ..]", |entry| {
        regions.push(region(&entry)?);
        Ok(())
    })?;
    Ok(regions)
}

fn region(entry: &Value) -> Result<Region> {
    let [start, end, weight] = entry.entries("[start, end, weight]")?;
    let region = Region { start: start.time()?, end: end.time()?, weight: factor(&weight)? };
    if region.end <= region.start {
        return Err(entry.is_not("its end after its start"));
    }
    Ok(region)
}

fn factor(weight: &Value) -> Result<f32> {
    let read = weight.written().parse::<f32>().ok();
    read.filter(|weight| weight.is_finite() && *weight >= 0.0)
        .ok_or_else(|| weight.is_not("a finite number, 0 or more"))
}
