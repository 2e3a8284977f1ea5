//! One row group in memory: segments in columns, on their way in or out.

use ndarray::Array2;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type};
use parquet::file::writer::SerializedRowGroupWriter;

use super::columns::Column;
use super::lists::{Depth, Lists};
use super::pages::Columns;
use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::io::files::Sealed;
use crate::stream::{Frames, Layout, Stream};
use crate::text::{PlacedWord, Word};
use crate::token::UNGENERATED;
use crate::units::Seconds;
use crate::weights::Region;

/// Indices of single columns in the schema.
pub(super) const ID: usize = 0;
pub(super) const NUM_FRAMES: usize = 4;
const CODES: usize = 5;
const WORD_TOKENS: usize = 11;
pub(super) const SPLIT: usize = 15;

/// Columns in the order of the schema; `rows` are those written to them, or left to take.
#[derive(Default)]
pub(super) struct Group {
    pub rows: usize,
    /// Whether words were read.
    has_words: bool,
    id: Column<ByteArray>,
    path: Column<ByteArray>,
    start: Column<f64>,
    duration: Column<f64>,
    num_frames: Column<i32>,
    /// To be written.
    codes: Column<i32>,
    /// That were read.
    code_lists: Lists,
    word_text: Column<ByteArray>,
    word_start: Column<f64>,
    word_end: Column<f64>,
    word_speaker: Column<ByteArray>,
    word_frame: Column<i32>,
    word_tokens: Column<i32>,
    token_lists: Lists,
    region_start: Column<f64>,
    region_end: Column<f64>,
    region_weight: Column<f32>,
    split: Column<ByteArray>,
    meta: Column<ByteArray>,
}

impl Group {
    /// Adds a segment whose codes the caller has checked.
    pub fn push(&mut self, segment: &Segment) -> Result<()> {
        let frames = word_frames(segment)?;
        let codes = &segment.codes.0;
        self.rows += 1;
        self.id.push(segment.id.as_str().into());
        self.path.push(segment.path.as_str().into());
        self.start.push(segment.start.to_f64());
        self.duration.push(segment.duration.to_f64());
        self.num_frames.push(codes.ncols() as i32);
        self.codes.push_lists(codes.rows().into_iter().map(|row| row.into_iter().copied()));
        let words = || segment.words.iter();
        self.word_text.push_list(words().map(|w| Some(w.word.text.as_str().into())), 1);
        self.word_start.push_list(words().map(|w| Some(w.word.start.to_f64())), 1);
        self.word_end.push_list(words().map(|w| Some(w.word.end.to_f64())), 1);
        self.word_speaker.push_list(words().map(|w| Some(w.word.speaker.as_str().into())), 1);
        self.word_frame.push_list(frames, 2);
        self.word_tokens.push_lists(words().map(|w| w.tokens.iter().copied()));
        let regions = || segment.regions.iter();
        self.region_start.push_list(regions().map(|r| Some(r.start.to_f64())), 1);
        self.region_end.push_list(regions().map(|r| Some(r.end.to_f64())), 1);
        self.region_weight.push_list(regions().map(|r| Some(r.weight)), 1);
        self.split.push(split_name(segment.split).into());
        self.meta.push(segment.meta.as_str().into());
        Ok(())
    }

    /// Writes the columns in the order of the schema.
    pub fn write_to(&self, group: &mut RowGroup<'_>) -> parquet::errors::Result<()> {
        put::<ByteArrayType>(group, &self.id)?;
        put::<ByteArrayType>(group, &self.path)?;
        put::<DoubleType>(group, &self.start)?;
        put::<DoubleType>(group, &self.duration)?;
        put::<Int32Type>(group, &self.num_frames)?;
        put::<Int32Type>(group, &self.codes)?;
        put::<ByteArrayType>(group, &self.word_text)?;
        put::<DoubleType>(group, &self.word_start)?;
        put::<DoubleType>(group, &self.word_end)?;
        put::<ByteArrayType>(group, &self.word_speaker)?;
        put::<Int32Type>(group, &self.word_frame)?;
        put::<Int32Type>(group, &self.word_tokens)?;
        put::<DoubleType>(group, &self.region_start)?;
        put::<DoubleType>(group, &self.region_end)?;
        put::<FloatType>(group, &self.region_weight)?;
        put::<ByteArrayType>(group, &self.split)?;
        put::<ByteArrayType>(group, &self.meta)
    }

    /// Decodes the columns, in the order of the schema, words last and only if they are wanted.
    pub fn read(columns: &mut Columns<'_>, words: bool) -> Result<Self> {
        let mut group = Group {
            rows: columns.rows(),
            has_words: words,
            id: columns.read::<ByteArrayType>(ID)?,
            path: columns.read::<ByteArrayType>(1)?,
            start: columns.read::<DoubleType>(2)?,
            duration: columns.read::<DoubleType>(3)?,
            num_frames: columns.read::<Int32Type>(NUM_FRAMES)?,
            code_lists: columns.lists(CODES, Depth::FULL)?,
            region_start: columns.read::<DoubleType>(12)?,
            region_end: columns.read::<DoubleType>(13)?,
            region_weight: columns.read::<FloatType>(14)?,
            split: columns.read::<ByteArrayType>(SPLIT)?,
            meta: columns.read::<ByteArrayType>(16)?,
            ..Group::default()
        };
        if words {
            group.read_words(columns)?;
        }
        Ok(group)
    }

    fn read_words(&mut self, columns: &mut Columns<'_>) -> Result<()> {
        self.word_text = columns.read::<ByteArrayType>(6)?;
        self.word_start = columns.read::<DoubleType>(7)?;
        self.word_end = columns.read::<DoubleType>(8)?;
        self.word_speaker = columns.read::<ByteArrayType>(9)?;
        self.word_frame = columns.read::<Int32Type>(10)?;
        self.token_lists = columns.lists(WORD_TOKENS, Depth::FULL)?;
        Ok(())
    }

    /// Takes the next row.
    pub fn segment(&mut self, layout: &Layout) -> Result<Segment> {
        self.rows = self.rows.saturating_sub(1);
        let id = text(self.id.next()?)?;
        self.rest(id.clone(), layout).map_err(|e| e.in_recording(id))
    }

    fn rest(&mut self, id: String, layout: &Layout) -> Result<Segment> {
        Ok(Segment {
            id,
            path: text(self.path.next()?)?,
            start: time(*self.start.next()?)?,
            duration: time(*self.duration.next()?)?,
            codes: self.codes(layout)?,
            words: if self.has_words { self.words()? } else { Vec::new() },
            regions: self.regions()?,
            split: split(self.split.next()?)?,
            meta: text(self.meta.next()?)?,
        })
    }

    fn codes(&mut self, layout: &Layout) -> Result<Frames<Array2<i32>>> {
        let (values, lengths) = self.code_lists.next()?;
        let frames = *self.num_frames.next()?;
        layout.check_streams(lengths.len())?;
        if let Some(row) = lengths.iter().position(|&length| i32::try_from(length) != Ok(frames)) {
            let found = format!("{} frames", lengths[row]);
            return Err(Error::invalid("row of codes", found, format!("num_frames, {frames}"))
                .in_stream(&layout.streams()[row].name));
        }
        grid(values.to_vec(), layout)
    }

    fn words(&mut self) -> Result<Vec<PlacedWord>> {
        let texts = self.word_text.next_list()?;
        let (starts, ends) = (self.word_start.next_list()?, self.word_end.next_list()?);
        let speakers = self.word_speaker.next_list()?;
        let frames = self.word_frame.next_sparse_list()?;
        let (mut tokens, lengths) = self.token_lists.next()?;
        let counts = [starts.len(), ends.len(), speakers.len(), frames.len(), lengths.len()];
        check_counts("words", texts.len(), &counts)?;
        let mut words = Vec::with_capacity(texts.len());
        for (i, said) in texts.iter().enumerate() {
            let word = Word::new(text(said)?, time(starts[i])?, time(ends[i])?, text(&speakers[i])?);
            let (own, rest) = tokens.split_at(lengths[i] as usize);
            let frame = frames[i].map(frame_index).transpose()?;
            words.push(PlacedWord { frame, ..PlacedWord::new(word, own.to_vec()) });
            tokens = rest;
        }
        Ok(words)
    }

    fn regions(&mut self) -> Result<Vec<Region>> {
        let (starts, ends) = (self.region_start.next_list()?, self.region_end.next_list()?);
        let weights = self.region_weight.next_list()?;
        check_counts("regions", starts.len(), &[ends.len(), weights.len()])?;
        let spans = starts.iter().zip(ends).zip(weights);
        spans
            .map(|((&start, &end), &weight)| match weight.is_finite() && weight >= 0.0 {
                true => Ok(Region { start: time(start)?, end: time(end)?, weight }),
                false => Err(Error::invalid("weight of a region", weight, "a finite number, not negative")),
            })
            .collect()
    }
}

/// Codes of the layout, row after row.
pub(in crate::io) fn grid(values: Vec<i32>, layout: &Layout) -> Result<Frames<Array2<i32>>> {
    let streams = layout.streams();
    let shape = (streams.len(), values.len() / streams.len());
    // One comparison a code, many at once; what is wrong is looked for only where something is.
    let fits = |(row, stream): (&[i32], &Stream)| {
        let (least, most) = (UNGENERATED as i32, stream.cardinality as i32);
        !row.iter().fold(false, |bad, &code| bad | (code < least) | (code >= most))
    };
    let good = values.chunks_exact(shape.1.max(1)).zip(streams).all(fits);
    let codes = Frames(Array2::from_shape_vec(shape, values).map_err(|e| Error::malformed("codes", e))?);
    if !good {
        layout.check_codes(&codes)?;
    }
    Ok(codes)
}

pub(in crate::io) type RowGroup<'a> = SerializedRowGroupWriter<'a, Sealed>;

/// Writes the next column.
pub(in crate::io) fn put<T: DataType>(group: &mut RowGroup<'_>, column: &Column<T::T>) -> parquet::errors::Result<()>
where
    T::T: 'static,
{
    let mut writer = group.next_column()?.expect("the schema has as many columns as are written");
    // A flat column has no levels at all, a nested one at least one for each row.
    let levels = |levels| (!column.def.is_empty()).then_some(levels);
    writer.typed::<T>().write_batch(&column.values, levels(&column.def[..]), levels(&column.rep[..]))?;
    writer.close()
}

fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Valid => "valid",
    }
}

/// First frames of the words in the width of their column.
fn word_frames(segment: &Segment) -> Result<Vec<Option<i32>>> {
    let fit = |frame: usize| {
        i32::try_from(frame).map_err(|_| Error::invalid("frame of a word", frame, format!("at most {}", i32::MAX)))
    };
    segment.words.iter().map(|word| word.frame.map(fit).transpose()).collect()
}

fn check_counts(what: &str, expected: usize, found: &[usize]) -> Result<()> {
    match found.iter().find(|&&count| count != expected) {
        None => Ok(()),
        Some(count) => Err(Error::malformed(what, format!("its fields have {count} and {expected} elements"))),
    }
}

fn frame_index(frame: i32) -> Result<usize> {
    usize::try_from(frame).map_err(|_| Error::invalid("frame of a word", frame, "0 or more, or null"))
}

pub(in crate::io) fn text(bytes: &ByteArray) -> Result<String> {
    std::str::from_utf8(bytes.data()).map(str::to_owned).map_err(|e| Error::malformed("text", e))
}

/// The decimal that a double prints as: [`Seconds::from_f64`], and faster for whole nanoseconds.
fn time(value: f64) -> Result<Seconds> {
    let nanoseconds = (value * 1e9).round();
    // No two decimals of 15 digits are the same double, so that none is shorter.
    match (0.0..1e15).contains(&nanoseconds) && nanoseconds / 1e9 == value {
        true => Ok(Seconds::of_samples(nanoseconds as u64, 1_000_000_000)),
        false => Seconds::from_f64(value),
    }
}

pub(super) fn split(name: &ByteArray) -> Result<Split> {
    match name.data() {
        b"train" => Ok(Split::Train),
        b"valid" => Ok(Split::Valid),
        _ => Err(Error::invalid("split", format!("{:?}", text(name)?), "train or valid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_doubles_print_as() {
        let mut values =
            vec![0.0, -0.0, 0.08, 2.32, 1e-9, 1.5e-9, 999_999.999_999_999, 1e6 / 3.0, -0.08, 1e11, 123.456];
        values.extend((0..20_000).map(|n| f64::from(n) * 0.01));
        values.extend((0..20_000).map(|n| f64::from(n) / 12.5 + f64::from(n) / 3e9));
        for value in values {
            assert_eq!(time(value).unwrap(), Seconds::from_f64(value).unwrap(), "{value:e}");
        }
        assert!([f64::NAN, f64::INFINITY, 1e300].iter().all(|&value| time(value).is_err()));
    }
}
