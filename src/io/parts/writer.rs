//! Segments into a part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::group::Group;
use super::{
    FORMAT_KEY, FORMAT_VERSION, GROUP_SIZE, LAYOUT_KEY, MAX_GROUP_SIZE, MAX_SEGMENT_SIZE, MAX_WORDS, PartSummary,
};
use super::{code_bits, failed, name_of, schema};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::io::files::Sealed;
use crate::stream::Layout;

const DOING: &str = "write the part";

/// Writes segments to a part, which appears under its name when it is finished; dropped before that, it leaves nothing.
///
/// The same segments give the same bytes. Memory is bounded by the row group, not by the part.
///
/// # Examples
/// ```
/// use roundelay::batch::{Segment, Split};
/// use roundelay::io::{PartReader, PartWriter};
/// use roundelay::{Frames, Layout, Seconds};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("part-00000.parquet");
/// let segment = Segment {
///     id: "a.wav".into(),
///     path: "a.wav".into(),
///     start: Seconds::ZERO,
///     duration: "0.16".parse()?,
///     codes: Frames(ndarray::arr2(&[[3, 3], [5, 6], [-1, 7]])),
///     words: vec![],
///     regions: vec![],
///     split: Split::Train,
///     meta: "{}".into(),
/// };
/// let mut writer = PartWriter::create(&path, &Layout::preset("delay-1")?)?;
/// writer.write(&segment)?;
/// assert_eq!(writer.finish()?.frames, 2);
/// assert_eq!(PartReader::open(&path)?.next().unwrap()?, segment);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub struct PartWriter {
    path: PathBuf,
    layout: Layout,
    file: SerializedFileWriter<Sealed>,
    group: Group,
    size: usize,
    group_size: usize,
    rows: u64,
    frames: u64,
}

impl PartWriter {
    /// Begins a part for segments of this layout.
    ///
    /// # Errors
    /// `Io`.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self> {
        Self::with_group_size(path, layout, GROUP_SIZE)
    }

    /// As [`PartWriter::create`], with row groups of about `tokens` and not of 256 Ki, at most of 4 Mi: small ones make
    /// single segments quick to find, large ones compress better.
    ///
    /// # Errors
    /// `Io`.
    pub fn with_group_size(path: &Path, layout: &Layout, tokens: usize) -> Result<Self> {
        let schema = schema(code_bits(layout));
        let file = SerializedFileWriter::new(Sealed::create(path)?, schema, Arc::new(properties(layout)))
            .map_err(|e| failed(DOING, e).in_file(path.display()))?;
        let (group, group_size) = (Group::default(), tokens.min(MAX_GROUP_SIZE));
        Ok(PartWriter {
            path: path.to_owned(),
            layout: layout.clone(),
            file,
            group,
            size: 0,
            group_size,
            rows: 0,
            frames: 0,
        })
    }

    /// Adds a segment.
    ///
    /// Times are stored as doubles: one of up to 15 digits comes back as it was, another as the shortest decimal of
    /// the double nearest to it.
    ///
    /// # Errors
    /// `StreamCount` or `Invalid` if the codes are not the layout's, `OverLimit` for more than 64 Mi tokens or
    /// 1 Mi words and regions, `Io`. The part can go on after all but the last.
    pub fn write(&mut self, segment: &Segment) -> Result<()> {
        self.add(segment).map_err(|e| e.in_recording(&segment.id).in_file(self.path.display()))
    }

    fn add(&mut self, segment: &Segment) -> Result<()> {
        self.layout.check_codes(&segment.codes)?;
        let size = size_of(segment);
        if size > MAX_SEGMENT_SIZE {
            return Err(Error::over_limit("number of tokens and letters of a segment", size, MAX_SEGMENT_SIZE));
        }
        let words = segment.words.len() + segment.regions.len();
        if words > MAX_WORDS {
            return Err(Error::over_limit("number of words and regions of a segment", words, MAX_WORDS));
        }
        self.group.push(segment)?;
        self.size += size;
        self.rows += 1;
        self.frames += segment.codes.0.ncols() as u64;
        if self.size >= self.group_size { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.group.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group().map_err(|e| failed(DOING, e))?;
        self.group.write_to(&mut group).map_err(|e| failed(DOING, e))?;
        group.close().map_err(|e| failed(DOING, e))?;
        (self.group, self.size) = (Group::default(), 0);
        Ok(())
    }

    /// Writes what is left, syncs the file and gives it its name.
    ///
    /// # Errors
    /// `Io`; there is then no part.
    pub fn finish(mut self) -> Result<PartSummary> {
        self.flush().map_err(|e| e.in_file(self.path.display()))?;
        // Written before the footer, so that a full disk is still told as such; then only the footer can have no room.
        self.file.flush().map_err(|e| Error::io(DOING, e).in_file(self.path.display()))?;
        let file = self.file.into_inner();
        let file = file.map_err(|e| Error::io(DOING, std::io::Error::other(e)).in_file(self.path.display()))?;
        let seal = file.seal()?;
        Ok(PartSummary {
            name: name_of(&self.path),
            rows: self.rows,
            frames: self.frames,
            bytes: seal.bytes,
            sha256: seal.sha256,
        })
    }
}

fn properties(layout: &Layout) -> WriterProperties {
    let metadata = [(FORMAT_KEY, FORMAT_VERSION.to_string()), (LAYOUT_KEY, layout.to_json())];
    let metadata = metadata.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
    let codes = ColumnPath::new(["codes", "list", "element", "list", "element"].map(str::to_owned).to_vec());
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(true)
        // One dictionary for all streams would give audio codes the width of the text's vocabulary: 13.7 bits a token
        // of moshi-7b where differences, whose width follows the stream, take 12.6.
        .set_column_dictionary_enabled(codes.clone(), false)
        .set_column_encoding(codes, Encoding::DELTA_BINARY_PACKED)
        // The format's version and not the tool's: another release writes the same bytes.
        .set_created_by(format!("roundelay version {FORMAT_VERSION}"))
        .set_key_value_metadata(Some(metadata))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build()
}

/// Levels and bytes that a segment takes in the largest column and in all texts: what bounds a row group.
fn size_of(segment: &Segment) -> usize {
    let words = segment.words.iter().map(|w| 1 + w.tokens.len() + w.word.text.len() + w.word.speaker.len());
    let texts = segment.id.len() + segment.path.len() + segment.meta.len();
    let codes = segment.codes.0.len() + segment.codes.0.nrows();
    1 + codes + words.sum::<usize>() + segment.regions.len() + texts
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::PartReader;
    use super::super::claims::{BYTES_PER_TOKEN, MAX_GROUP_BYTES};
    use super::*;
    use crate::batch::Split;
    use crate::stream::Frames;
    use crate::text::{PlacedWord, Word};
    use crate::units::Seconds;
    use crate::weights::Region;

    fn one_stream() -> Layout {
        let preset = Layout::preset("delay-1").unwrap();
        Layout::new("x", preset.frame_rate(), preset.streams()[1..2].to_vec()).unwrap()
    }

    fn empty() -> Segment {
        Segment {
            id: String::new(),
            path: String::new(),
            start: Seconds::ZERO,
            duration: Seconds::ZERO,
            codes: Frames(Array2::zeros((1, 0))),
            words: vec![],
            regions: vec![],
            split: Split::Train,
            meta: String::new(),
        }
    }

    #[test]
    fn no_segment_takes_more_memory_for_a_token_than_the_reader_allows() {
        let word = Word::new("", Seconds::ZERO, Seconds::ZERO, "");
        let words = vec![PlacedWord { frame: Some(0), ..PlacedWord::new(word, vec![]) }; 1000];
        let regions = vec![Region { start: Seconds::ZERO, end: Seconds::ZERO, weight: 1.0 }; 1000];
        let codes = Frames(Array2::zeros((1, 1000)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let extremes =
            [empty(), Segment { words, ..empty() }, Segment { regions, ..empty() }, Segment { codes, ..empty() }];
        for segment in extremes {
            let mut writer = PartWriter::create(&path, &one_stream()).unwrap();
            (0..100).for_each(|_| writer.write(&segment).unwrap());
            writer.finish().unwrap();
            let part = PartReader::open(&path).unwrap();
            let room = part.room(0, MAX_GROUP_BYTES).unwrap();
            let per_token = room / (100 * size_of(&segment) as u64);
            assert!(per_token <= BYTES_PER_TOKEN, "{per_token}");
            // The columns share the limit.
            assert_eq!(part.room(0, room).unwrap(), room);
            let error = part.room(0, room - 1).unwrap_err().to_string();
            assert!(error.contains("bytes that the row group takes in memory is at least"), "{error}");
        }
    }

    #[test]
    fn a_segment_of_too_many_words_is_refused_and_the_part_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = PartWriter::create(&folder.path().join("p.parquet"), &one_stream()).unwrap();
        let regions = vec![Region { start: Seconds::ZERO, end: Seconds::ZERO, weight: 1.0 }; MAX_WORDS + 1];
        let error = writer.write(&Segment { regions, ..empty() }).unwrap_err().to_string();
        assert!(error.contains("number of words and regions of a segment is 1048577, over the limit"), "{error}");
        writer.write(&empty()).unwrap();
        assert_eq!(writer.finish().unwrap().rows, 1);
    }
}
