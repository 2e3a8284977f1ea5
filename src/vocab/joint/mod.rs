//! Several vocabularies in one id space, and back.
//!
//! ```text
//! disjoint             shared               any map
//! text   0..35000      source  0..35000     source  0 1 2 3 4        joint ids 0..7
//! audio  35000..35512  target  0..35000     target      2 3 5 6      2 and 3 are both
//! 35,512 joint ids     35,000 joint ids     7 joint ids
//! ```
//!
//! A [`Part`] sends its own ids `0..size` to joint ids, no two to the same one. Parts may share joint ids, and there may
//! be joint ids that are of no part.

mod form;
mod logits;
mod part;
mod preset;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use logits::Real;
pub use part::Part;

use crate::error::{Error, Result};
use crate::stream::Layout;

/// Named vocabularies in one id space.
///
/// Read from JSON: parts that are a range name its first id, unless that is 0, and their size, others list the joint id
/// of each of theirs. `size` may be left out, and then ends with the last id of a part.
///
/// ```json
/// {"size": 35512, "parts": [{"name": "text", "size": 35000}, {"name": "audio", "first": 35000, "size": 512}]}
/// {"size": 7, "parts": [{"name": "source", "size": 5}, {"name": "target", "ids": [2, 3, 5, 6]}]}
/// ```
///
/// # Examples
/// ```
/// use roundelay::vocab::Joint;
///
/// let joint = Joint::disjoint(&[("text", 35_000), ("audio", 512)])?;
/// assert_eq!(joint.size(), 35_512);
/// let audio = joint.part("audio")?;
/// assert_eq!(audio.joint(511), Some(35_511));
/// assert_eq!(audio.local(34_999), None);
/// assert_eq!(joint.parts_of(34_999).map(|part| part.name()).collect::<Vec<_>>(), ["text"]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "form::JointForm", into = "form::JointForm")]
pub struct Joint {
    size: usize,
    parts: Vec<Part>,
}

impl Joint {
    /// One after another, without a gap: the size is the sum of the sizes.
    ///
    /// # Errors
    /// As [`Joint::new`].
    pub fn disjoint(parts: &[(&str, usize)]) -> Result<Self> {
        let mut end = 0_usize;
        let parts = parts.iter().map(|&(name, size)| {
            let first = end;
            end = end.saturating_add(size);
            Part::range(name, first, size)
        });
        Self::new(parts.collect::<Result<_>>()?)
    }

    /// All from 0 on, so that an id is the same in each part that has it: the size is the largest one.
    ///
    /// # Errors
    /// As [`Joint::new`].
    pub fn shared(parts: &[(&str, usize)]) -> Result<Self> {
        Self::new(parts.iter().map(|&(name, size)| Part::range(name, 0, size)).collect::<Result<_>>()?)
    }

    /// Any parts; the size ends with the last joint id of a part.
    ///
    /// # Errors
    /// `Invalid` if there is none, or if two have one name.
    ///
    /// # Examples
    /// ```
    /// use roundelay::vocab::{Joint, Part};
    ///
    /// let source = Part::range("source", 0, 5)?;
    /// let target = Part::map("target", vec![2, 3, 5, 6])?;
    /// let joint = Joint::new(vec![source, target])?;
    /// assert_eq!(joint.part("target")?.mask(), [false, false, true, true, false, true, true]);
    /// assert_eq!(joint.shared_ids("source", "target")?, [2, 3]);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn new(parts: Vec<Part>) -> Result<Self> {
        let size = parts.iter().map(Part::end).max().unwrap_or(0);
        Self::with_size(size, parts)
    }

    /// Any parts in a space of `size` ids, some of which may be of no part: a model's table is often longer.
    ///
    /// # Errors
    /// As [`Joint::new`], or if a part has a joint id beyond the size; `OverLimit` for more than 2^31 joint ids.
    pub fn with_size(size: usize, mut parts: Vec<Part>) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::invalid("number of parts", 0, "1 or more"));
        }
        if size > part::MAX_SIZE {
            return Err(Error::over_limit("size of the joint vocabulary", size, part::MAX_SIZE));
        }
        let mut names = HashSet::new();
        for part in &parts {
            if !names.insert(part.name()) {
                return Err(Error::invalid("name of the part", part.name(), "a name that no other part has"));
            }
            if part.end() > size {
                let found = format!("{} in part {}", part.end() - 1, part.name());
                return Err(Error::invalid("joint id", found, format!("one below {size}, the size")));
            }
        }
        parts.iter_mut().for_each(|part| part.place_in(size));
        Ok(Joint { size, parts })
    }

    /// A part for each stream of a layout, as large as its cardinality and with its name, behind other parts.
    ///
    /// # Errors
    /// As [`Joint::new`].
    ///
    /// # Examples
    /// ```
    /// use roundelay::{Layout, vocab::Joint};
    ///
    /// let joint = Joint::of_layout(&Layout::preset("csm")?, &[("words", 35_000)])?;
    /// let last = joint.parts().last().expect("parts");
    /// assert_eq!((last.name(), last.size()), ("main.31", 2048));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn of_layout(layout: &Layout, front: &[(&str, usize)]) -> Result<Self> {
        let streams = layout.streams().iter().map(|stream| (stream.name.as_str(), stream.cardinality as usize));
        Self::disjoint(&front.iter().copied().chain(streams).collect::<Vec<_>>())
    }

    /// Number of joint ids.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The parts, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// A part by its name.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    pub fn part(&self, name: &str) -> Result<&Part> {
        self.parts.iter().find(|part| part.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.parts.iter().map(Part::name).collect();
            Error::invalid("part", format!("\"{name}\""), format!("one of {}", names.join(", ")))
        })
    }

    /// The parts that a joint id belongs to: none, one or several.
    pub fn parts_of(&self, joint: u32) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.local(joint).is_some())
    }

    /// How many joint ids are of no part.
    ///
    /// # Examples
    /// ```
    /// use roundelay::vocab::{Joint, Part};
    ///
    /// let parts = vec![Part::range("a", 2, 3)?, Part::map("b", vec![9, 3])?];
    /// assert_eq!(Joint::with_size(1 << 31, parts)?.of_no_part(), (1 << 31) - 4);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn of_no_part(&self) -> usize {
        let mut spans: Vec<_> = self.parts.iter().flat_map(Part::spans).collect();
        spans.sort_unstable();
        let (mut used, mut end) = (0, 0);
        for (first, last) in spans {
            used += last.saturating_sub(end.max(first));
            end = end.max(last);
        }
        self.size - used
    }

    /// Joint ids that are of both parts, from low to high.
    ///
    /// # Errors
    /// `Invalid` if there is no such part.
    pub fn shared_ids(&self, one: &str, other: &str) -> Result<Vec<u32>> {
        let (one, other) = (self.part(one)?, self.part(other)?);
        Ok(one.in_joint_order().map(|(joint, _)| joint).filter(|&joint| other.local(joint).is_some()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_that_are_known() {
        assert_eq!(Joint::disjoint(&[("source", 35_000), ("target", 512)]).unwrap().size(), 35_512);
        assert_eq!(Joint::disjoint(&[("source", 35_000), ("target", 35_000)]).unwrap().size(), 70_000);
        assert_eq!(Joint::shared(&[("source", 35_000), ("target", 512)]).unwrap().size(), 35_000);
    }

    #[test]
    fn wrong_parts_are_refused() {
        let refused = |joint: Result<Joint>| joint.unwrap_err().to_string();
        assert_eq!(refused(Joint::disjoint(&[])), "number of parts is 0, expected 1 or more");
        let twice = Joint::disjoint(&[("a", 2), ("a", 3)]);
        assert_eq!(refused(twice), "name of the part is a, expected a name that no other part has");
        let beyond = Joint::with_size(4, vec![Part::range("a", 2, 3).unwrap()]);
        assert_eq!(refused(beyond), "joint id is 4 in part a, expected one below 4, the size");
        let unknown = Joint::shared(&[("a", 2), ("b", 3)]).unwrap().part("c").unwrap_err().to_string();
        assert_eq!(unknown, "part is \"c\", expected one of a, b");
        assert!(refused(Joint::disjoint(&[("a", usize::MAX), ("b", 2)])).contains("over the limit"));
        assert!(
            refused(Joint::with_size(usize::MAX, vec![Part::range("a", 0, 1).unwrap()])).contains("over the limit")
        );
    }
}
