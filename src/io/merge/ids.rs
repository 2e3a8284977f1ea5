//! Whether an id occurs in two datasets.

use std::collections::HashMap;

use super::inputs::Input;
use crate::error::{Error, Result};
use crate::io::files;
use crate::io::parts::{PartReader, RowGroups};

/// Checks that no id comes twice. Ids are kept by 96 bits of a hash, 16 bytes a segment with the dataset.
pub(super) fn check(inputs: &[Input]) -> Result<()> {
    let mut seen: HashMap<[u32; 3], u32> = HashMap::new();
    let mut again = None;
    let mut count = 0;
    for (n, input) in inputs.iter().enumerate() {
        each_id(input, &mut |id| {
            let owner = *seen.entry(files::short_hash(&id)).or_insert(n as u32);
            if owner as usize != n {
                count += 1;
                again.get_or_insert((id, owner as usize, n));
            }
        })?;
    }
    let Some((id, first, second)) = again else { return Ok(()) };
    let [first, second] = [first, second].map(|n| inputs[n].folder.display());
    let found = format!("{count} that are in two datasets; the first is {id:?}, in {first} and {second}");
    Err(Error::invalid("ids of segments", found, "each in one"))
}

fn each_id(input: &Input, take: &mut dyn FnMut(String)) -> Result<()> {
    for part in &input.dataset.info().parts {
        let reader = PartReader::open(&input.dataset.part_path(part))?;
        for group in 0..reader.groups() {
            reader.heads(group)?.into_iter().for_each(|head| take(head.id));
        }
    }
    Ok(())
}
