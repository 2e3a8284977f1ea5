//! One row group in memory: segments in columns, on their way in or out.

use ndarray::Array2;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type};
use parquet::file::writer::SerializedRowGroupWriter;

use super::columns::Column;
use super::reader::Columns;
use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::io::files::Sealed;
use crate::stream::{Frames, Layout};
use crate::text::{PlacedWord, Word};
use crate::units::Seconds;
use crate::weights::Region;

/// Indices of single columns in the schema.
pub(super) const ID: usize = 0;
pub(super) const NUM_FRAMES: usize = 4;

/// Columns in the order of the schema; `rows` are those written to them, or left to take.
#[derive(Default)]
pub(super) struct Group {
    pub rows: usize,
    id: Column<ByteArray>,
    path: Column<ByteArray>,
    start: Column<f64>,
    duration: Column<f64>,
    num_frames: Column<i32>,
    codes: Column<i32>,
    word_text: Column<ByteArray>,
    word_start: Column<f64>,
    word_end: Column<f64>,
    word_speaker: Column<ByteArray>,
    word_frame: Column<i32>,
    word_tokens: Column<i32>,
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

    /// Decodes the columns, in the order of the schema.
    pub fn read(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Group {
            rows: columns.rows(),
            id: columns.read::<ByteArrayType>(ID)?,
            path: columns.read::<ByteArrayType>(1)?,
            start: columns.read::<DoubleType>(2)?,
            duration: columns.read::<DoubleType>(3)?,
            num_frames: columns.read::<Int32Type>(NUM_FRAMES)?,
            codes: columns.read::<Int32Type>(5)?,
            word_text: columns.read::<ByteArrayType>(6)?,
            word_start: columns.read::<DoubleType>(7)?,
            word_end: columns.read::<DoubleType>(8)?,
            word_speaker: columns.read::<ByteArrayType>(9)?,
            word_frame: columns.read::<Int32Type>(10)?,
            word_tokens: columns.read::<Int32Type>(11)?,
            region_start: columns.read::<DoubleType>(12)?,
            region_end: columns.read::<DoubleType>(13)?,
            region_weight: columns.read::<FloatType>(14)?,
            split: columns.read::<ByteArrayType>(15)?,
            meta: columns.read::<ByteArrayType>(16)?,
        })
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
            start: Seconds::from_f64(self.start.next()?)?,
            duration: Seconds::from_f64(self.duration.next()?)?,
            codes: self.codes(layout)?,
            words: self.words()?,
            regions: self.regions()?,
            split: split(&text(self.split.next()?)?)?,
            meta: text(self.meta.next()?)?,
        })
    }

    fn codes(&mut self, layout: &Layout) -> Result<Frames<Array2<i32>>> {
        let (values, lengths) = self.codes.next_lists()?;
        let frames = self.num_frames.next()?;
        layout.check_streams(lengths.len())?;
        if let Some(row) = lengths.iter().position(|&length| i32::try_from(length) != Ok(frames)) {
            let found = format!("{} frames", lengths[row]);
            return Err(Error::invalid("row of codes", found, format!("num_frames, {frames}"))
                .in_stream(&layout.streams()[row].name));
        }
        let shape = (lengths.len(), lengths.first().copied().unwrap_or(0));
        let codes = Array2::from_shape_vec(shape, values).map_err(|e| Error::malformed("codes", e))?;
        let codes = Frames(codes);
        layout.check_codes(&codes)?;
        Ok(codes)
    }

    fn words(&mut self) -> Result<Vec<PlacedWord>> {
        let texts = self.word_text.next_full_list()?;
        let (starts, ends) = (self.word_start.next_full_list()?, self.word_end.next_full_list()?);
        let speakers = self.word_speaker.next_full_list()?;
        let frames = self.word_frame.next_list(2)?;
        let (tokens, lengths) = self.word_tokens.next_lists()?;
        let counts = [starts.len(), ends.len(), speakers.len(), frames.len(), lengths.len()];
        check_counts("words", texts.len(), &counts)?;
        let mut tokens = tokens.into_iter();
        let mut words = Vec::with_capacity(texts.len());
        for (i, (said, speaker)) in texts.into_iter().zip(speakers).enumerate() {
            let [start, end] = [Seconds::from_f64(starts[i])?, Seconds::from_f64(ends[i])?];
            let word = Word::new(text(said)?, start, end, text(speaker)?);
            let tokens = tokens.by_ref().take(lengths[i]).collect();
            words.push(PlacedWord { frame: frames[i].map(frame_index).transpose()?, ..PlacedWord::new(word, tokens) });
        }
        Ok(words)
    }

    fn regions(&mut self) -> Result<Vec<Region>> {
        let (starts, ends) = (self.region_start.next_full_list()?, self.region_end.next_full_list()?);
        let weights = self.region_weight.next_full_list()?;
        check_counts("regions", starts.len(), &[ends.len(), weights.len()])?;
        let spans = starts.into_iter().zip(ends).zip(weights);
        spans
            .map(|((start, end), weight)| match weight.is_finite() && weight >= 0.0 {
                true => Ok(Region { start: Seconds::from_f64(start)?, end: Seconds::from_f64(end)?, weight }),
                false => Err(Error::invalid("weight of a region", weight, "a finite number, not negative")),
            })
            .collect()
    }
}

type RowGroup<'a> = SerializedRowGroupWriter<'a, Sealed>;

fn put<T: DataType>(group: &mut RowGroup<'_>, column: &Column<T::T>) -> parquet::errors::Result<()>
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

fn text(bytes: ByteArray) -> Result<String> {
    String::from_utf8(bytes.data().to_vec()).map_err(|e| Error::malformed("text", e))
}

fn split(name: &str) -> Result<Split> {
    match name {
        "train" => Ok(Split::Train),
        "valid" => Ok(Split::Valid),
        other => Err(Error::invalid("split", format!("{other:?}"), "train or valid")),
    }
}
