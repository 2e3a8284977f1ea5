//! Token ids and their roles.
//!
//! A cell of a grid holds one id. What the id means is its role, and the role comes from the stream: 3 is a pad in
//! Moshi's text and an ordinary code in its audio.

use crate::wide::wide;

/// No token here: no embedding goes in, no loss comes out (Kyutai: the zero token).
pub const ABSENT: i64 = -1;

/// A slot that the model is to fill.
pub const UNGENERATED: i64 = -2;

/// An integer type that a grid may be stored in.
///
/// Unsigned types hold codes that are all present. Sealed, so that a later width is no breaking change.
pub trait Token:
    Copy + PartialEq + Into<i64> + TryFrom<i64> + Send + Sync + std::fmt::Debug + sealed::Width + 'static
{
    /// The type's name in Rust and in file formats.
    const NAME: &'static str;
}

pub(crate) mod sealed {
    /// What conversions between token types rest on.
    pub trait Width {
        const LEAST: i64;
        const MOST: i64;
        /// The id in this type; another one where it does not fit.
        fn wrap(id: i64) -> Self;
    }
}

/// Copies ids to another type; false if one does not fit, and is another one there.
#[inline]
pub(crate) fn convert<A: Token, B: Token>(from: &[A], to: &mut [B]) -> bool {
    convert_seen(from, to).0
}

/// [`convert`], and the bits that any of the ids has: below 0 if one of them is.
#[inline]
pub(crate) fn convert_seen<A: Token, B: Token>(from: &[A], to: &mut [B]) -> (bool, i64) {
    match (from, to) {
        ([from], [to]) => {
            *to = B::wrap((*from).into());
            (fits::<A, B>(*from), (*from).into())
        }
        (from, to) => wide(|| convert_row(from, to)),
    }
}

/// Whether an id fits; known without looking where every `A` is a `B`.
#[inline]
fn fits<A: Token, B: Token>(id: A) -> bool {
    let id = id.into();
    // Both are looked at, as a row then goes through without branches.
    (A::LEAST >= B::LEAST || id >= B::LEAST) & (A::MOST <= B::MOST || id <= B::MOST)
}

// A function of its own: only as parameters are the slices known to be apart.
#[inline(always)]
fn convert_row<A: Token, B: Token>(from: &[A], to: &mut [B]) -> (bool, i64) {
    from.iter().zip(to).fold((true, 0), |(whole, seen), (&id, to)| {
        *to = B::wrap(id.into());
        (whole & fits::<A, B>(id), seen | id.into())
    })
}

/// Whether no id is absent or ungenerated. One pass without branches: signs are gathered, not looked at.
pub(crate) fn all_present<A: Token>(ids: &[A]) -> bool {
    A::LEAST >= 0 || wide(|| ids.iter().fold(0, |signs, &id| signs | id.into()) >= 0)
}

macro_rules! token {
    ($($int:ident),*) => {$(
        impl sealed::Width for $int {
            const LEAST: i64 = $int::MIN as i64;
            const MOST: i64 = $int::MAX as i64;
            fn wrap(id: i64) -> Self {
                id as $int
            }
        }
        impl Token for $int {
            const NAME: &'static str = stringify!($int);
        }
    )*};
}
token!(i64, i32, i16, u32, u16, u8);
