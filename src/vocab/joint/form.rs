//! The JSON form of a joint vocabulary.

use serde::{Deserialize, Serialize};

use super::{Joint, Part};
use crate::error::{Error, Result};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JointForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    parts: Vec<PartForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartForm {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<u32>>,
}

impl PartForm {
    fn part(self) -> Result<Part> {
        match (self.first, self.size, self.ids) {
            (first, Some(size), None) => Part::range(self.name, first.unwrap_or(0), size),
            (None, None, Some(ids)) => Part::map(self.name, ids),
            (.., Some(_)) => Err(Error::invalid(format!("part {}: size or first", self.name), "given", "ids alone")),
            _ => Err(Error::invalid(format!("part {}: size", self.name), "missing", "its size, or its ids")),
        }
    }
}

impl TryFrom<JointForm> for Joint {
    type Error = Error;

    fn try_from(form: JointForm) -> Result<Self> {
        let parts = form.parts.into_iter().map(PartForm::part).collect::<Result<Vec<_>>>()?;
        match form.size {
            Some(size) => Joint::with_size(size, parts),
            None => Joint::new(parts),
        }
    }
}

impl From<Joint> for JointForm {
    fn from(joint: Joint) -> Self {
        let form = |part: &Part| {
            let first = part.first();
            PartForm {
                name: part.name().to_owned(),
                first: first.filter(|&first| first > 0),
                size: first.map(|_| part.size()),
                ids: first.is_none().then(|| (0..part.size() as u32).filter_map(|id| part.joint(id)).collect()),
            }
        };
        JointForm { size: Some(joint.size), parts: joint.parts.iter().map(form).collect() }
    }
}

impl Joint {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// `Malformed`, with the line where the JSON is wrong. `Invalid` and `OverLimit`, as of [`Part::range`], [`Part::map`]
    /// and [`Joint::with_size`], for parts that are none or do not go together.
    pub fn from_json(text: &str) -> Result<Self> {
        let form: JointForm =
            serde_json::from_str(text).map_err(|e| Error::malformed("joint vocabulary", &e).on_line(e.line()))?;
        form.try_into()
    }

    /// The JSON form, a part on each line.
    pub fn to_json(&self) -> String {
        let form = JointForm::from(self.clone());
        let parts = form.parts.iter().map(|part| serde_json::to_string(part).expect("names and numbers"));
        format!(
            "{{\n  \"size\": {},\n  \"parts\": [\n    {}\n  ]\n}}\n",
            self.size,
            parts.collect::<Vec<_>>().join(",\n    ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_as_it_was_written() {
        let parts =
            vec![Part::range("a", 0, 3).unwrap(), Part::range("b", 7, 2).unwrap(), Part::map("c", vec![8, 1]).unwrap()];
        let joint = Joint::with_size(12, parts).unwrap();
        assert_eq!(Joint::from_json(&joint.to_json()).unwrap(), joint);
        let serde: Joint = serde_json::from_str(&serde_json::to_string(&joint).unwrap()).unwrap();
        assert_eq!(serde, joint);
    }

    #[test]
    fn wrong_json_is_an_error_with_its_place() {
        let refused = |text: &str| Joint::from_json(text).unwrap_err().to_string();
        assert!(refused("{\n\"parts\": 3}").starts_with("line 2: joint vocabulary is ill-formed:"));
        assert!(refused("{\"parts\": [{\"name\": \"a\", \"sise\": 3}]}").contains("unknown field `sise`"));
        let missing = refused("{\"parts\": [{\"name\": \"a\"}]}");
        assert_eq!(missing, "part a: size is missing, expected its size, or its ids");
        let both = refused("{\"parts\": [{\"name\": \"a\", \"size\": 3, \"ids\": [1]}]}");
        assert_eq!(both, "part a: size or first is given, expected ids alone");
    }
}
