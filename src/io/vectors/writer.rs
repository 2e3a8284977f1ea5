//! Writes a store: every tensor at its place, each cluster's rows as they come.

use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::store::{About, KEY, Numbers};
use crate::error::{Error, Result};
use crate::io::files::Sealed;

/// Bytes of rows that wait to be written, all clusters together.
const WAITING: usize = 32 << 20;

/// What is known before the rows are written.
pub struct Plan<'a> {
    pub about: About,
    pub dimension: usize,
    /// Where clusters begin and end.
    pub offsets: &'a [u64],
    pub centroids: &'a [f32],
    /// One for each dimension, where numbers are i8.
    pub scales: &'a [f32],
}

impl Plan<'_> {
    fn rows(&self) -> usize {
        *self.offsets.last().expect("offsets end with the end") as usize
    }

    /// The tensors in the order of the file: the vectors last, so that these can begin where memory likes it.
    fn tensors(&self) -> Vec<(&'static str, Dtype, Vec<usize>)> {
        let (rows, clusters) = (self.rows(), self.offsets.len() - 1);
        let mut tensors = vec![
            ("offsets", Dtype::U64, vec![clusters + 1]),
            ("centroids", Dtype::F32, vec![clusters, self.dimension]),
            ("ids", Dtype::U32, vec![rows]),
            ("places", Dtype::U32, vec![rows]),
            ("vectors", self.about.numbers.dtype(), vec![rows, self.dimension]),
        ];
        if self.about.numbers == Numbers::I8 {
            tensors.insert(2, ("scales", Dtype::F32, vec![self.dimension]));
        }
        tensors
    }

    /// The header, and where in the file each tensor begins.
    fn header(&self) -> Result<(Vec<u8>, HashMap<&'static str, u64>)> {
        let (mut entries, mut begins, mut at) = (Vec::new(), HashMap::new(), 0);
        for (name, dtype, shape) in self.tensors() {
            let end = at + shape.iter().product::<usize>() * dtype.bitsize() / 8;
            begins.insert(name, at as u64);
            entries.push((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (at, end) }));
            at = end;
        }
        let failed = |e: &dyn std::fmt::Display| Error::malformed("description of the store", e);
        let about = serde_json::to_string(&self.about).map_err(|e| failed(&e))?;
        let metadata =
            Metadata::new(Some(HashMap::from([(KEY.to_owned(), about)])), entries).map_err(|e| failed(&e))?;
        let mut json = serde_json::to_vec(&metadata).map_err(|e| failed(&e))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        // Rows should not straddle lines of the cache: blanks in the header move them.
        let before = begins["vectors"] as usize;
        while !((8 + json.len() + before) / 8).is_multiple_of(8) {
            json.extend(*b"        ");
        }
        let start = 8 + json.len() as u64;
        begins.values_mut().for_each(|begin| *begin += start);
        Ok(([&(json.len() as u64).to_le_bytes()[..], &json].concat(), begins))
    }
}

/// A store that is being written.
pub struct Writer<'a> {
    file: Sealed,
    plan: &'a Plan<'a>,
    begins: HashMap<&'static str, u64>,
    clusters: Vec<Waiting>,
    /// Bytes that wait in a cluster at most.
    room: usize,
    rows: u32,
}

/// Rows of one cluster that are not in the file yet, and where they belong.
struct Waiting {
    next: u64,
    ids: Vec<u32>,
    bytes: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn create(path: &Path, plan: &'a Plan<'a>) -> Result<Self> {
        let (header, begins) = plan.header()?;
        let clusters: Vec<Waiting> = plan.offsets[..plan.offsets.len() - 1]
            .iter()
            .map(|&next| Waiting { next, ids: Vec::new(), bytes: Vec::new() })
            .collect();
        let room = (WAITING / clusters.len()).clamp(1 << 10, 1 << 18);
        let mut writer = Writer { file: Sealed::create(path)?, plan, begins, clusters, room, rows: 0 };
        writer.put(0, &header)?;
        writer.put(writer.begins["offsets"], bytemuck::cast_slice(plan.offsets))?;
        writer.put(writer.begins["centroids"], bytemuck::cast_slice(plan.centroids))?;
        if let Some(&begin) = writer.begins.get("scales") {
            writer.put(begin, bytemuck::cast_slice(plan.scales))?;
        }
        Ok(writer)
    }

    /// Adds the next rows, each to its cluster.
    pub fn add(&mut self, rows: &[f32], homes: &[u16]) -> Result<()> {
        let mut places = Vec::with_capacity(homes.len());
        for (row, &home) in rows.chunks_exact(self.plan.dimension).zip(homes) {
            let cluster = &mut self.clusters[usize::from(home)];
            places.push(cluster.next as u32 + cluster.ids.len() as u32);
            let id = self.rows + places.len() as u32 - 1;
            cluster.ids.push(id);
            self.plan.about.numbers.encode(id, row, self.plan.scales, &mut cluster.bytes)?;
            if cluster.bytes.len() >= self.room {
                self.flush(home.into())?;
            }
        }
        let begin = self.begins["places"] + 4 * u64::from(self.rows);
        self.rows += homes.len() as u32;
        self.put(begin, bytemuck::cast_slice(&places))
    }

    fn flush(&mut self, home: usize) -> Result<()> {
        let Waiting { next, ids, bytes } = &mut self.clusters[home];
        let (row, ids, bytes) = (*next, std::mem::take(ids), std::mem::take(bytes));
        *next += ids.len() as u64;
        self.put(self.begins["ids"] + 4 * row, bytemuck::cast_slice(&ids))?;
        let width = (self.plan.dimension * self.plan.about.numbers.dtype().bitsize() / 8) as u64;
        self.put(self.begins["vectors"] + width * row, &bytes)?;
        // The room is used again.
        let cluster = &mut self.clusters[home];
        (cluster.ids, cluster.bytes) = (ids, bytes);
        cluster.ids.clear();
        cluster.bytes.clear();
        Ok(())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file.file_mut();
        let put = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
        put.map_err(|e| Error::io("write the file", e))
    }

    /// Gives the file its name, and returns how many bytes it has.
    pub fn finish(mut self) -> Result<u64> {
        assert_eq!(self.rows as usize, self.plan.rows(), "all rows are written");
        (0..self.clusters.len()).try_for_each(|home| self.flush(home))?;
        let length = self.file.file_mut().metadata().map_err(|e| Error::io("write the file", e))?.len();
        self.file.seal()?;
        Ok(length)
    }
}

impl Numbers {
    /// Appends the row of an id as it is stored.
    fn encode(self, id: u32, row: &[f32], scales: &[f32], bytes: &mut Vec<u8>) -> Result<()> {
        match self {
            Numbers::F32 => bytes.extend_from_slice(bytemuck::cast_slice(row)),
            Numbers::F16 => {
                for (column, &value) in row.iter().enumerate() {
                    let half = f16::from_f32(value);
                    if half.is_infinite() {
                        let what = format!("dimension {column} of vector {id}");
                        return Err(Error::invalid(what, value, "at most 65504 in size, to be stored as f16"));
                    }
                    bytes.extend_from_slice(&half.to_le_bytes());
                }
            }
            Numbers::I8 => bytes.extend(row.iter().zip(scales).map(|(&value, &scale)| whole(value, scale) as u8)),
        }
        Ok(())
    }
}

/// The nearest multiple of a scale.
fn whole(value: f32, scale: f32) -> i8 {
    // A dimension of zeros has no scale.
    if scale > 0.0 { (value / scale).round().clamp(-127.0, 127.0) as i8 } else { 0 }
}
