//! One vocabulary's place among the joint ids.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use ndarray::{Array, ArrayBase, Data, Dimension};

use crate::error::{Error, Result};
use crate::token::{ABSENT, Token, UNGENERATED};

/// Joint ids there may be: as many as signed 32-bit ids tell apart.
pub(super) const MAX_SIZE: usize = 1 << 31;

/// A vocabulary with a name, whose ids `0..size` have joint ids: no two the same one.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::vocab::Joint;
///
/// let joint = Joint::disjoint(&[("text", 100), ("audio", 8)])?;
/// let audio = joint.part("audio")?;
/// let codes = arr2(&[[0, 7, -1]]); // an absent code stays one
/// let ids = audio.encode(&codes)?;
/// assert_eq!(ids, arr2(&[[100, 107, -1]]));
/// assert_eq!(audio.decode(&ids)?, codes);
/// let error = audio.decode(&arr2(&[[100, 99]])).unwrap_err();
/// assert_eq!(error.to_string(), "part audio: joint id at position 1 is 99, expected 100..108");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    name: String,
    ids: Ids,
    joint_size: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ids {
    Range {
        first: usize,
        size: usize,
    },
    Map {
        joint: Vec<u32>,
        local: HashMap<u32, u32, FixedState>,
        /// Own ids by their joint ids, from low to high.
        order: Vec<u32>,
    },
}

impl Part {
    /// A part whose id i is the joint id `first + i`.
    ///
    /// # Errors
    /// `Invalid` if it has no name or no ids, `OverLimit` beyond 2^31 joint ids.
    pub fn range(name: impl Into<String>, first: usize, size: usize) -> Result<Self> {
        Self::new(name.into(), Ids::Range { first, size }, first.saturating_add(size), size)
    }

    /// A part whose id i is the joint id `joint[i]`.
    ///
    /// # Errors
    /// As [`Part::range`], and `Invalid` if two ids have the same joint id.
    pub fn map(name: impl Into<String>, joint: Vec<u32>) -> Result<Self> {
        let (name, size) = (name.into(), joint.len());
        let mut local = HashMap::with_capacity_and_hasher(size, FixedState::default());
        for (id, &to) in joint.iter().enumerate() {
            if let Some(before) = local.insert(to, id as u32) {
                let expected = "a joint id of its own for each id";
                return Err(of_part(&name, "joint id", format!("{to} for both {before} and {id}"), expected));
            }
        }
        let mut order: Vec<u32> = (0..size as u32).collect();
        order.sort_unstable_by_key(|&id| joint[id as usize]);
        let end = order.last().map_or(0, |&last| joint[last as usize] as usize + 1);
        Self::new(name, Ids::Map { joint, local, order }, end, size)
    }

    fn new(name: String, ids: Ids, end: usize, size: usize) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("name of the part", "empty", "a name of its own"));
        }
        if size == 0 {
            return Err(of_part(&name, "size", 0, "1 or more"));
        }
        if end > MAX_SIZE {
            return Err(Error::over_limit(format!("part {name}: last joint id and 1"), end, MAX_SIZE));
        }
        Ok(Part { name, ids, joint_size: end })
    }

    pub(super) fn place_in(&mut self, joint_size: usize) {
        self.joint_size = joint_size;
    }

    /// The part's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of ids.
    pub fn size(&self) -> usize {
        match &self.ids {
            Ids::Range { size, .. } => *size,
            Ids::Map { joint, .. } => joint.len(),
        }
    }

    /// Number of joint ids: that of the [`Joint`](super::Joint) it was taken from; by itself it ends with its last id.
    pub fn joint_size(&self) -> usize {
        self.joint_size
    }

    /// The first joint id of a part that is a range.
    pub fn first(&self) -> Option<usize> {
        match self.ids {
            Ids::Range { first, .. } => Some(first),
            Ids::Map { .. } => None,
        }
    }

    /// The least joint id.
    pub fn least(&self) -> usize {
        match &self.ids {
            Ids::Range { first, .. } => *first,
            Ids::Map { joint, order, .. } => order.first().map_or(0, |&first| joint[first as usize] as usize),
        }
    }

    /// One more than the greatest joint id.
    pub fn end(&self) -> usize {
        match &self.ids {
            Ids::Range { first, size } => first + size,
            Ids::Map { joint, order, .. } => order.last().map_or(0, |&last| joint[last as usize] as usize + 1),
        }
    }

    /// The joint id of an id, if there is such an id.
    pub fn joint(&self, id: u32) -> Option<u32> {
        match &self.ids {
            Ids::Range { first, size } => ((id as usize) < *size).then(|| (first + id as usize) as u32),
            Ids::Map { joint, .. } => joint.get(id as usize).copied(),
        }
    }

    /// The part's own id of a joint id, if that belongs to it.
    pub fn local(&self, joint: u32) -> Option<u32> {
        match &self.ids {
            Ids::Range { first, size } => {
                (joint as usize).checked_sub(*first).filter(|id| id < size).map(|id| id as u32)
            }
            Ids::Map { local, .. } => local.get(&joint).copied(),
        }
    }

    /// Joint id and own id of each, by joint ids from low to high.
    pub fn in_joint_order(&self) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        (0..self.size() as u32).map(move |n| match &self.ids {
            Ids::Range { first, .. } => (*first as u32 + n, n),
            Ids::Map { joint, order, .. } => (joint[order[n as usize] as usize], order[n as usize]),
        })
    }

    /// How many joint ids belong to another part as well.
    ///
    /// # Examples
    /// ```
    /// use roundelay::vocab::Part;
    ///
    /// let (all, some) = (Part::range("all", 0, 1 << 30)?, Part::map("some", vec![9, 2, 1 << 30])?);
    /// assert_eq!((all.shared_with(&some), some.shared_with(&all)), (2, 2));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn shared_with(&self, other: &Part) -> usize {
        match (&self.ids, &other.ids) {
            // By their ends: a range costs nothing, however long it is.
            (Ids::Range { .. }, Ids::Range { .. }) => {
                self.end().min(other.end()).saturating_sub(self.least().max(other.least()))
            }
            (Ids::Map { joint, .. }, _) => joint.iter().filter(|&&id| other.local(id).is_some()).count(),
            (Ids::Range { .. }, Ids::Map { .. }) => other.shared_with(self),
        }
    }

    /// The joint ids as ranges, from low to high.
    pub(super) fn spans(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let ids = match &self.ids {
            Ids::Range { .. } => None,
            Ids::Map { .. } => Some(self.in_joint_order().map(|(id, _)| (id as usize, id as usize + 1))),
        };
        let range = ids.is_none().then(|| (self.least(), self.end()));
        range.into_iter().chain(ids.into_iter().flatten())
    }

    /// Which joint ids belong to the part.
    ///
    /// # Shapes
    /// As many as there are joint ids.
    pub fn mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.joint_size];
        self.in_joint_order().for_each(|(joint, _)| mask[joint as usize] = true);
        mask
    }

    /// Own ids to joint ids; absent (-1) and ungenerated (-2) stay what they are.
    ///
    /// # Shapes
    /// Any; returns the same.
    /// # Errors
    /// `Invalid`, with the position in row-major order, where an id is not one of the part.
    pub fn encode<A: Token, S: Data<Elem = A>, D: Dimension>(&self, ids: &ArrayBase<S, D>) -> Result<Array<i64, D>> {
        let joint = |id| u32::try_from(id).ok().and_then(|id| self.joint(id));
        self.each(ids, joint, |at| format!("id at position {at}"), || format!("0..{}", self.size()))
    }

    /// Joint ids to own ids, the inverse of [`Part::encode`].
    ///
    /// # Shapes
    /// Any; returns the same.
    /// # Errors
    /// `Invalid`, with the position in row-major order, where a joint id does not belong to the part.
    pub fn decode<A: Token, S: Data<Elem = A>, D: Dimension>(&self, joint: &ArrayBase<S, D>) -> Result<Array<i64, D>> {
        let local = |id| u32::try_from(id).ok().and_then(|id| self.local(id));
        self.each(joint, local, |at| format!("joint id at position {at}"), || self.range_in_words())
    }

    fn each<A: Token, S: Data<Elem = A>, D: Dimension>(
        &self,
        ids: &ArrayBase<S, D>,
        other: impl Fn(i64) -> Option<u32>,
        what: impl Fn(usize) -> String,
        expected: impl Fn() -> String,
    ) -> Result<Array<i64, D>> {
        let one = |(at, &id): (usize, &A)| match id.into() {
            id @ (ABSENT | UNGENERATED) => Ok(id),
            id => other(id).map(i64::from).ok_or_else(|| of_part(&self.name, what(at), id, expected())),
        };
        let found = ids.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
        Ok(Array::from_shape_vec(ids.raw_dim(), found).expect("as many as there were"))
    }

    /// The joint ids, for a message.
    pub(super) fn range_in_words(&self) -> String {
        match &self.ids {
            Ids::Range { first, size } => format!("{first}..{}", first + size),
            Ids::Map { joint, .. } => format!("one of its {} joint ids", joint.len()),
        }
    }
}

/// An error of a part.
pub(super) fn of_part(
    name: &str,
    what: impl std::fmt::Display,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Error {
    Error::invalid(format!("part {name}: {what}"), found, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    #[test]
    fn ids_that_share_a_joint_id_are_refused() {
        let error = Part::map("a", vec![3, 1, 3]).unwrap_err().to_string();
        assert_eq!(error, "part a: joint id is 3 for both 0 and 2, expected a joint id of its own for each id");
    }

    #[test]
    fn parts_without_name_or_ids_are_refused() {
        assert_eq!(
            Part::range("", 0, 1).unwrap_err().to_string(),
            "name of the part is empty, expected a name of its own"
        );
        assert_eq!(Part::map("a", vec![]).unwrap_err().to_string(), "part a: size is 0, expected 1 or more");
        assert!(Part::range("a", 1 << 31, 1).unwrap_err().to_string().contains("over the limit of 2147483648"));
        assert!(Part::map("a", vec![u32::MAX]).is_err());
    }

    #[test]
    fn ids_outside_the_part_are_named_with_their_position() {
        let part = Part::map("a", vec![5, 0]).unwrap();
        assert_eq!(part.encode(&arr1(&[1_u8, 0])).unwrap(), arr1(&[0, 5]));
        let error = part.encode(&arr1(&[1, 2])).unwrap_err().to_string();
        assert_eq!(error, "part a: id at position 1 is 2, expected 0..2");
        let error = part.decode(&arr1(&[-3])).unwrap_err().to_string();
        assert_eq!(error, "part a: joint id at position 0 is -3, expected one of its 2 joint ids");
    }

    #[test]
    fn a_part_knows_its_joint_order() {
        let part = Part::map("a", vec![5, 0, 3]).unwrap();
        assert_eq!(part.in_joint_order().collect::<Vec<_>>(), [(0, 1), (3, 2), (5, 0)]);
        assert_eq!(part.mask(), [true, false, false, true, false, true]);
    }
}
