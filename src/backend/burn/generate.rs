//! The next column, stream by stream.

use burn::tensor::backend::AutodiffBackend;
use ndarray::ArrayView2;

use super::BurnBackend;
use super::attention::Sequence;
use super::batch::Uploader;
use super::forward::{depth, temporal};
use super::model::Model;
use super::train::{Plain, read};
use crate::backend::Generate;
use crate::error::{Error, Result};
use crate::token::ABSENT;

/// Who chooses ids by their logits.
type Choose<'a> = &'a mut dyn FnMut(usize, &[f32]) -> i32;

/// Reads all columns again for each one that it says: n columns take n squared steps, which a small model has done before
/// a larger one has filled its memory of keys and values.
impl<B: AutodiffBackend> Generate for BurnBackend<B> {
    fn next(&mut self, steps: ArrayView2<i32>, known: &[Option<i32>], choose: Choose) -> Result<Vec<i32>> {
        let upload = self.upload::<B::InnerBackend>();
        self.check(steps, known, &upload)?;
        let tensors = self.tensors();
        let model = self.model.map(&mut |&part| tensors[part].clone());
        let count = steps.ncols();
        let places: Vec<i32> = (0..count as i32).collect();
        let columns = upload.read([1, count], vec![0; count], &places, |k| steps.row(k).into_iter().copied());
        let last = temporal(&model, &columns, &self.options).slice_dim(0, count - 1..count);
        let mut said = known.to_vec();
        for k in 0..said.len() {
            if said[k].is_none() {
                let logits = self.logits(&model, &upload, last.clone(), &said, k);
                said[k] = Some(choose(k, &read(logits)?));
            }
        }
        Ok(said.into_iter().map(|id| id.expect("every stream was known or has been said")).collect())
    }
}

impl<B: AutodiffBackend> BurnBackend<B> {
    /// What a trained stream says next, after those before it.
    fn logits(
        &self,
        model: &Model<Plain<B>>,
        upload: &Uploader<B::InnerBackend>,
        last: Plain<B>,
        said: &[Option<i32>],
        stream: usize,
    ) -> Plain<B> {
        let place = |streams: &[usize]| streams.iter().position(|&k| k == stream);
        let (Some(parts), Some(n)) = (&model.depth, place(&upload.said.audio)) else {
            let text = place(&upload.said.text).expect("streams that are not said are known");
            return last.matmul(model.text[text].clone());
        };
        let sequence = Sequence::plain(1, upload.said.audio.len(), &self.device);
        // What is not yet said is absent, and no stream looks at those behind it.
        let told = upload.told(|k| [said[k].unwrap_or(ABSENT as i32)].into_iter());
        let hidden = depth(parts, &sequence, last, &told, &self.options).slice_dim(0, n..n + 1);
        hidden.matmul(parts.heads[n].clone())
    }

    fn check(&self, steps: ArrayView2<i32>, known: &[Option<i32>], upload: &Uploader<B::InnerBackend>) -> Result<()> {
        let streams = self.spec.streams.len();
        if let Some(found) = [steps.nrows(), known.len()].into_iter().find(|found| *found != streams) {
            return Err(crate::ErrorKind::StreamCount { found, expected: streams }.into());
        }
        if steps.ncols() == 0 {
            return Err(Error::invalid("columns to go on from", 0, "at least 1"));
        }
        let said: Vec<usize> = upload.said.all().collect();
        let unsaid = |(k, known): (usize, &Option<i32>)| (known.is_none() && !said.contains(&k)).then_some(k);
        match known.iter().enumerate().find_map(unsaid) {
            Some(k) => {
                let error = Error::invalid("token", "ungenerated", "one: the model does not say this stream");
                Err(error.in_stream(&self.spec.streams[k].name))
            }
            None => Ok(()),
        }
    }
}
