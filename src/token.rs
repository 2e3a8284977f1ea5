//! Token ids and their roles.
//!
//! A cell of a grid holds one id. What the id means is its role, and the role comes from the stream: 3 is a pad in
//! Moshi's text and an ordinary code in its audio.

/// No token here: no embedding goes in, no loss comes out (Kyutai: the zero token).
pub const ABSENT: i64 = -1;

/// A slot that the model is to fill.
pub const UNGENERATED: i64 = -2;

/// An integer type that a grid may be stored in.
///
/// Unsigned types hold codes that are all present. Sealed, so that a later width is no breaking change.
pub trait Token:
    Copy + PartialEq + Into<i64> + TryFrom<i64> + Send + Sync + std::fmt::Debug + sealed::Sealed + 'static
{
    /// The type's name in Rust and in file formats.
    const NAME: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! token {
    ($($int:ident),*) => {$(
        impl sealed::Sealed for $int {}
        impl Token for $int {
            const NAME: &'static str = stringify!($int);
        }
    )*};
}
token!(i64, i32, i16, u32, u16, u8);
