//! Streams to one row of joint ids, and back: how a language model reads codes.
//!
//! ```text
//! text [N]               H  t t t t  h  A  S  a b c d e f g  a b c d e f g  E  Z
//! codes [K,T]     ->     |  text     |  |  |  frame 0        frame 1        |  |
//!                        '-- parts of one id, or a row of a part's ids -----'--'
//! ```
//!
//! The codes come in the order of a pattern's steps, each with the joint id of its stream; nothing is filled in, as
//! nothing needs to be: T frames of K streams are K x T ids.

use ndarray::{Array2, ArrayBase, ArrayD, ArrayView2, ArrayViewD, Axis, Data, Dimension, concatenate, s};

use crate::delay::{Pattern, Start};
use crate::error::{Error, Result};
use crate::stream::{Frames, Layout, Stream, batched};
use crate::token::Token;
use crate::vocab::{Joint, Part};

/// Name, pattern, what stands in front and behind.
type Preset = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// Layout and joint vocabulary have the part of the name before the colon.
const PRESETS: &[Preset] = &[
    ("orpheus", "multi-rate", &["start_of_speech"], &["end_of_speech"]),
    (
        "orpheus:turn",
        "multi-rate",
        &["start_of_human", "text", "end_of_human", "start_of_answer", "start_of_speech"],
        &["end_of_speech", "end_of_answer"],
    ),
    ("bark", "flatten", &["semantic"], &[]),
];

/// The way from streams to one row of joint ids, and back.
///
/// Every stream has the part of its name. In front of the codes and behind them stand other parts: one that has a single
/// id stands for it, one that has more is a row that is given along with the codes.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::{Frames, Layout};
/// use roundelay::pipeline::Flatten;
/// use roundelay::vocab::Joint;
///
/// let bark = Flatten::preset("bark")?;
/// let (semantic, codes) = (arr2(&[[17, 9_999]]), arr2(&[[1, 2, 3], [1001, 1002, 1003]]));
/// let row = bark.row(&Frames(codes.view()), &[semantic.row(0).into_dyn()])?;
/// assert_eq!(row.as_slice(), Some(&[17, 9_999, 10_001, 12_025, 10_002, 12_026, 10_003, 12_027][..]));
/// let back = bark.codes(&row)?;
/// assert_eq!(back.codes.0, codes.into_dyn());
/// assert_eq!(back.rows, [semantic.row(0).to_owned().into_dyn()]);
///
/// // One's own: words, a begin, then the codes of each frame.
/// let layout = Layout::preset("musicgen")?;
/// let joint = Joint::of_layout(&layout, &[("words", 35_000), ("begin", 1)])?;
/// let own = Flatten::new(layout, "flatten".parse()?, joint)?.between(&["words", "begin"], &[])?;
/// assert_eq!(own.rows().map(|part| part.name()).collect::<Vec<_>>(), ["words"]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Flatten {
    layout: Layout,
    pattern: Pattern,
    joint: Joint,
    front: Vec<String>,
    behind: Vec<String>,
}

/// What a row was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Unflattened {
    /// `[stream, time]` or `[batch, stream, time]`.
    pub codes: Frames<ArrayD<i64>>,
    /// The rows beside the codes, in their order: `[position]` or `[batch, position]`, own ids of their parts.
    pub rows: Vec<ArrayD<i64>>,
}

impl Flatten {
    /// Names of the rows that come with the crate.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|preset| preset.0)
    }

    /// A row that comes with the crate.
    ///
    /// - `orpheus`: SNAC's seven codes a frame between begin and end of speech.
    /// - `orpheus:turn`: the same behind a row of text, with what its chat has around them.
    /// - `bark`: a row of semantic ids, then two codebooks, frame by frame. What the coarse model reads between them is
    ///   a matter of [`Flatten::between`]: `semantic`, `coarse_infer`.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    pub fn preset(name: &str) -> Result<Self> {
        let (_, pattern, front, behind) = PRESETS.iter().find(|preset| preset.0 == name).ok_or_else(|| {
            let names: Vec<_> = Self::presets().collect();
            Error::invalid("row", format!("\"{name}\""), format!("one of {}", names.join(", ")))
        })?;
        let model = name.split(':').next().unwrap_or(name);
        Self::new(Layout::preset(model)?, pattern.parse()?, Joint::preset(model)?)?.between(front, behind)
    }

    /// The codes alone.
    ///
    /// # Errors
    /// `Invalid`, naming the stream, if the joint vocabulary has no part for it, or one that is too small; also if the
    /// pattern is none for the layout.
    pub fn new(layout: Layout, pattern: Pattern, joint: Joint) -> Result<Self> {
        for stream in layout.streams() {
            let part = joint.part(&stream.name).map_err(|e| e.in_stream(&stream.name))?;
            if part.size() < stream.cardinality as usize {
                let expected = format!("{} or more", stream.cardinality);
                return Err(Error::invalid("size of its part", part.size(), expected).in_stream(&stream.name));
            }
        }
        pattern.order_of(&layout, 1, Start::None)?;
        Ok(Flatten { layout, pattern, joint, front: Vec::new(), behind: Vec::new() })
    }

    /// The same with parts in front and behind. Those of more than one id are rows, and stand in front.
    ///
    /// # Errors
    /// `Invalid` for parts that are none, for a row behind the codes, and where it could not be told where a row ends:
    /// whatever may follow it, past other rows and codes that may be empty, must be an id that is not its own.
    pub fn between(self, front: &[&str], behind: &[&str]) -> Result<Self> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let flatten = Flatten { front: owned(front), behind: owned(behind), ..self };
        for name in behind {
            if flatten.joint.part(name)?.size() > 1 {
                return Err(Error::invalid("part behind the codes", name, "one of a single id"));
            }
        }
        (0..flatten.front.len()).try_for_each(|n| flatten.check_end(n))?;
        Ok(flatten)
    }

    /// Checks that a part in front, where it is a row, ends where something else begins.
    fn check_end(&self, n: usize) -> Result<()> {
        let row = self.joint.part(&self.front[n])?;
        for next in self.followers(n)?.into_iter().filter(|_| row.size() > 1) {
            if row.shared_with(next) > 0 {
                let expected = "a part without ids of its own, so that its end can be found";
                return Err(Error::invalid(format!("part behind the row {}", row.name()), next.name(), expected));
            }
        }
        Ok(())
    }

    /// What may come next behind a part in front: any part up to the first that cannot be empty.
    fn followers(&self, n: usize) -> Result<Vec<&Part>> {
        let mut next = Vec::new();
        for name in &self.front[n + 1..] {
            next.push(self.joint.part(name)?);
            if next.last().is_some_and(|part| part.size() == 1) {
                return Ok(next);
            }
        }
        next.extend(self.layout.streams().iter().map(|stream| self.part(stream)));
        next.extend(self.behind().take(1));
        Ok(next)
    }

    /// The streams.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The joint vocabulary.
    pub fn joint(&self) -> &Joint {
        &self.joint
    }

    /// The order of the codes.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The parts of which a row is given along with the codes, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &Part> {
        self.front().filter(|part| part.size() > 1)
    }

    /// The parts in front of the codes.
    pub fn front(&self) -> impl Iterator<Item = &Part> {
        self.parts(&self.front)
    }

    /// The parts behind the codes.
    pub fn behind(&self) -> impl Iterator<Item = &Part> {
        self.parts(&self.behind)
    }

    fn parts<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Part> {
        names.iter().map(|name| self.joint.part(name).expect("names that were checked"))
    }

    fn part(&self, stream: &Stream) -> &Part {
        self.joint.part(&stream.name).expect("a part for each stream")
    }

    /// Streams to one row.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` with rows `[position]`, or `[batch, stream, time]` with rows `[batch, position]`;
    /// returns `[step]` or `[batch, step]`. Absent and ungenerated codes stay what they are.
    /// # Errors
    /// `StreamCount`, or `Invalid`, with the part, where a code is none, or if the rows do not go with the codes.
    pub fn row<A: Token, D: Dimension>(
        &self,
        codes: &Frames<ArrayBase<impl Data<Elem = A>, D>>,
        rows: &[ArrayViewD<'_, i64>],
    ) -> Result<ArrayD<i64>> {
        let grid = batched(&codes.0)?;
        self.layout.check_streams(grid.dim().1)?;
        let mut pieces = self.front_pieces(grid.dim().0, rows)?;
        let streams = self.layout.streams().iter().enumerate();
        let joint = streams.map(|(k, stream)| self.part(stream).encode(&grid.index_axis(Axis(1), k)));
        let joint = joint.collect::<Result<Vec<_>>>()?;
        let places = self.places(grid.dim().2)?;
        pieces.push(Array2::from_shape_fn((grid.dim().0, places.len()), |(b, s)| joint[places[s].1][(b, places[s].0)]));
        pieces.extend(self.behind().map(|part| alone(part, grid.dim().0)));
        let views: Vec<_> = pieces.iter().map(|piece| piece.view()).collect();
        let row = concatenate(Axis(1), &views).expect("pieces of one batch");
        Ok(if codes.0.ndim() == 2 { row.index_axis_move(Axis(0), 0).into_dyn() } else { row.into_dyn() })
    }

    /// (frame, stream) of each code, in the order of the row.
    fn places(&self, frames: usize) -> Result<Vec<(usize, usize)>> {
        let order = self.pattern.order_of(&self.layout, frames, Start::None)?;
        // What lies past the last frame is no code.
        Ok((0..order.steps()).flat_map(|s| order.codes(s)).filter(|&(t, _)| t < frames).collect())
    }

    fn front_pieces(&self, batch: usize, rows: &[ArrayViewD<'_, i64>]) -> Result<Vec<Array2<i64>>> {
        let expected = self.rows().count();
        if rows.len() != expected {
            return Err(Error::invalid("number of rows beside the codes", rows.len(), expected));
        }
        let mut rows = rows.iter();
        let piece = |part: &Part| match part.size() {
            1 => Ok(alone(part, batch)),
            _ => own_row(part, batch, rows.next().expect("a row for each part")),
        };
        self.front().map(piece).collect()
    }

    /// One row to streams, the inverse of [`Flatten::row`].
    ///
    /// # Shapes
    /// `[step]`, or `[batch, step]` with rows of one length each.
    /// # Errors
    /// `Invalid`, with the position, where an id is not of the part that it should be of, or if the codes are no whole
    /// number of frames.
    pub fn codes<A: Token, D: Dimension>(&self, row: &ArrayBase<impl Data<Elem = A>, D>) -> Result<Unflattened> {
        let axes = row.ndim();
        let view = row.view().into_dyn();
        let view = if axes == 1 { view.insert_axis(Axis(0)) } else { view };
        let grid = view
            .into_dimensionality::<ndarray::Ix2>()
            .map_err(|_| Error::invalid("number of axes of the row", axes, "1, as [step], or 2, as [batch, step]"))?;
        let grid = grid.mapv(Into::into);
        let (begin, mut rows) = self.read_front(grid.view())?;
        let end = self.read_behind(grid.view(), begin)?;
        let mut codes = self.read_codes(grid.slice(s![.., begin..end]), begin)?;
        if axes == 1 {
            codes = codes.index_axis_move(Axis(0), 0);
            rows = rows.into_iter().map(|row| row.index_axis_move(Axis(0), 0)).collect();
        }
        Ok(Unflattened { codes: Frames(codes), rows })
    }

    /// Where the codes begin, and the rows in front of them.
    fn read_front(&self, grid: ArrayView2<'_, i64>) -> Result<(usize, Vec<ArrayD<i64>>)> {
        let (mut at, mut rows) = (0, Vec::new());
        for part in self.front() {
            if part.size() == 1 {
                expect_alone(part, grid, at)?;
                at += 1;
                continue;
            }
            let own =
                |row: ndarray::ArrayView1<'_, i64>| row.iter().skip(at).take_while(|&&id| is_of(part, id)).count();
            let length = grid.outer_iter().next().map_or(0, own);
            if let Some(other) = grid.outer_iter().position(|row| own(row) != length) {
                let what = format!("length of the row {} of example {other}", part.name());
                return Err(Error::invalid(what, own(grid.row(other)), format!("{length}, as of the first")));
            }
            rows.push(part.decode(&grid.slice(s![.., at..at + length]))?.into_dyn());
            at += length;
        }
        Ok((at, rows))
    }

    /// Where the codes end.
    fn read_behind(&self, grid: ArrayView2<'_, i64>, begin: usize) -> Result<usize> {
        let least = begin + self.behind.len();
        if grid.ncols() < least {
            return Err(Error::invalid("number of ids in the row", grid.ncols(), format!("{least} or more")));
        }
        let end = grid.ncols() - self.behind.len();
        self.behind().enumerate().try_for_each(|(n, part)| expect_alone(part, grid, end + n))?;
        Ok(end)
    }

    fn read_codes(&self, grid: ArrayView2<'_, i64>, begin: usize) -> Result<ArrayD<i64>> {
        let streams = self.layout.streams();
        if !grid.ncols().is_multiple_of(streams.len()) {
            let expected = format!("a multiple of the {} in a frame", streams.len());
            return Err(Error::invalid("number of codes in the row", grid.ncols(), expected));
        }
        let frames = grid.ncols() / streams.len();
        let parts: Vec<&Part> = streams.iter().map(|stream| self.part(stream)).collect();
        let mut codes = ndarray::Array3::zeros((grid.nrows(), streams.len(), frames));
        for (s, (t, k)) in self.places(frames)?.into_iter().enumerate() {
            let part = parts[k];
            let own = part.decode(&grid.column(s)).map_err(|_| {
                let wrong = grid.column(s).iter().copied().find(|&id| id != -1 && id != -2 && !is_of(part, id));
                not_of(part, begin + s, wrong.unwrap_or(0)).in_stream(&streams[k].name).at_frame(t)
            })?;
            codes.slice_mut(s![.., k, t]).assign(&own);
        }
        Ok(codes.into_dyn())
    }
}

/// A part's only id.
fn alone(part: &Part, batch: usize) -> Array2<i64> {
    Array2::from_elem((batch, 1), part.joint(0).map_or(0, i64::from))
}

fn is_of(part: &Part, id: i64) -> bool {
    u32::try_from(id).is_ok_and(|id| part.local(id).is_some())
}

fn not_of(part: &Part, at: usize, found: i64) -> Error {
    Error::invalid(format!("id {at} of the row"), found, format!("one of part {}", part.name()))
}

fn expect_alone(part: &Part, grid: ArrayView2<'_, i64>, at: usize) -> Result<()> {
    if at >= grid.ncols() {
        return Err(Error::invalid(
            "number of ids in the row",
            grid.ncols(),
            format!("more: part {} is missing", part.name()),
        ));
    }
    match grid.column(at).iter().find(|&&id| !is_of(part, id)) {
        Some(&found) => Err(not_of(part, at, found)),
        None => Ok(()),
    }
}

fn own_row(part: &Part, batch: usize, row: &ArrayViewD<'_, i64>) -> Result<Array2<i64>> {
    let row = if row.ndim() == 1 { row.view().insert_axis(Axis(0)) } else { row.view() };
    let shape = format!("{:?}", row.shape());
    let row = row.into_dimensionality::<ndarray::Ix2>().ok().filter(|row| row.nrows() == batch);
    let row = row.ok_or_else(|| {
        Error::invalid(format!("shape of the row {}", part.name()), shape, format!("{batch} rows, as the codes have"))
    })?;
    // An absent one would look like the row's end.
    if let Some(&id) = row.iter().find(|&&id| id < 0) {
        return Err(Error::invalid(format!("id of the row {}", part.name()), id, "0 or more"));
    }
    part.encode(&row)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};

    use super::*;

    #[test]
    fn orpheus_has_text_and_speech_in_one_row() {
        let turn = Flatten::preset("orpheus:turn").unwrap();
        let codes = Frames(Array2::from_shape_fn((7, 1), |(k, _)| k as i64));
        let text = arr1(&[128_000, 9, 128_009]);
        let row = turn.row(&codes, &[text.view().into_dyn()]).unwrap();
        let slots = [0, 1, 3, 4, 2, 5, 6].iter().enumerate().map(|(slot, k)| 128_266 + 4096 * slot as i64 + k);
        let front = [128_259, 128_000, 9, 128_009, 128_260, 128_261, 128_257];
        let expected: Vec<i64> = front.into_iter().chain(slots).chain([128_258, 128_262]).collect();
        assert_eq!(row, arr1(&expected).into_dyn());
        let back = turn.codes(&row).unwrap();
        assert_eq!((back.codes.0, back.rows), (codes.0.into_dyn(), vec![text.into_dyn()]));
    }

    #[test]
    fn rows_that_are_not_what_they_should_be_are_named() {
        let orpheus = Flatten::preset("orpheus").unwrap();
        let refused = |row: &[i64]| orpheus.codes(&arr1(row)).unwrap_err().to_string();
        assert_eq!(refused(&[]), "number of ids in the row is 0, expected more: part start_of_speech is missing");
        assert_eq!(refused(&[128_257]), "number of ids in the row is 1, expected 2 or more");
        assert_eq!(refused(&[128_256, 128_258]), "id 0 of the row is 128256, expected one of part start_of_speech");
        assert_eq!(refused(&[128_257, 3]), "id 1 of the row is 3, expected one of part end_of_speech");
        let codes = "number of codes in the row is 1, expected a multiple of the 7 in a frame";
        assert_eq!(refused(&[128_257, 128_266, 128_258]), codes);
        let mut row: Vec<i64> = (0..7).map(|slot| 128_266 + 4096 * slot).collect();
        row.insert(0, 128_257);
        row.push(128_258);
        row[3] = 128_266;
        let wrong = "stream main.2.0, frame 0: id 3 of the row is 128266, expected one of part main.2.0";
        assert_eq!(refused(&row), wrong);
    }

    #[test]
    fn rows_beside_the_codes_must_go_with_them() {
        let bark = Flatten::preset("bark").unwrap();
        let codes = Frames(arr2(&[[1_i64], [2]]));
        let refused = |rows: &[ArrayViewD<'_, i64>]| bark.row(&codes, rows).unwrap_err().to_string();
        assert_eq!(refused(&[]), "number of rows beside the codes is 0, expected 1");
        let two = Array2::zeros((2, 3));
        assert_eq!(
            refused(&[two.view().into_dyn()]),
            "shape of the row semantic is [2, 3], expected 1 rows, as the codes have"
        );
        assert_eq!(refused(&[arr1(&[-1]).view().into_dyn()]), "id of the row semantic is -1, expected 0 or more");
        let beyond = "part semantic: id at position 0 is 10000, expected 0..10000";
        assert_eq!(refused(&[arr1(&[10_000]).view().into_dyn()]), beyond);
        let uneven = bark.codes(&arr2(&[[5, 10_000, 11_024], [5, 5, 11_024]])).unwrap_err().to_string();
        assert_eq!(uneven, "length of the row semantic of example 1 is 2, expected 1, as of the first");
    }

    #[test]
    fn parts_that_hide_where_a_row_ends_are_refused() {
        let layout = Layout::preset("bark").unwrap();
        let joint = Joint::shared(&[("words", 35_000), ("main.0", 1024), ("main.1", 1024)]).unwrap();
        let flatten = Flatten::new(layout.clone(), "flatten".parse().unwrap(), joint).unwrap();
        let refused = |front: &[&str], behind: &[&str]| flatten.clone().between(front, behind).unwrap_err().to_string();
        let hidden =
            "part behind the row words is main.0, expected a part without ids of its own, so that its end can be found";
        assert_eq!(refused(&["words"], &[]), hidden);
        assert_eq!(refused(&[], &["words"]), "part behind the codes is words, expected one of a single id");
        assert!(refused(&["wrods"], &[]).starts_with("part is \"wrods\", expected one of words"));
        // Rows and codes may be empty: what stands behind them comes next as well.
        let parts = [("words", 0, 50), ("more", 50, 50), ("again", 20, 10), ("begin", 100, 1), ("own", 7, 1)];
        let streams = [("main.0", 101, 1024), ("main.1", 1125, 1024)];
        let parts = parts.iter().chain(&streams).map(|&(name, first, size)| Part::range(name, first, size).unwrap());
        let joint = Joint::new(parts.collect()).unwrap();
        let flatten = Flatten::new(layout.clone(), "flatten".parse().unwrap(), joint).unwrap();
        let hidden = |front: &[&str], behind: &[&str], next: &str| {
            let error = flatten.clone().between(front, behind).unwrap_err().to_string();
            assert!(error.starts_with(&format!("part behind the row words is {next}, expected")), "{error}");
        };
        hidden(&["words", "more", "again"], &[], "again");
        hidden(&["words", "more", "own"], &[], "own");
        hidden(&["words", "more"], &["own"], "own");
        let kept = |front: &[&str], behind: &[&str]| assert!(flatten.clone().between(front, behind).is_ok());
        kept(&["words", "more"], &["begin", "own"]);
        kept(&["words", "more", "begin", "again"], &[]);
        kept(&["words", "begin"], &["own"]);
        let small = Joint::shared(&[("main.0", 1024), ("main.1", 1023)]).unwrap();
        let error = Flatten::new(layout, "flatten".parse().unwrap(), small).unwrap_err().to_string();
        assert_eq!(error, "stream main.1: size of its part is 1023, expected 1024 or more");
    }
}
