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

/// Ids copied at once, by plain moves. A longer copy is handed to the system's, whose block instruction is slow to begin
/// and slower where rows lie askew: a tenth of the whole at Moshi's batch.
const AT_ONCE: usize = 8;

/// Copies ids to another type; false if one does not fit, and is another one there.
#[inline]
pub(crate) fn convert<A: Token, B: Token>(from: &[A], to: &mut [B]) -> bool {
    convert_seen(from, to, |_| ())
}

/// [`convert`], with a look at each id on the way.
#[inline]
pub(crate) fn convert_seen<A: Token, B: Token>(from: &[A], to: &mut [B], mut see: impl FnMut(i64)) -> bool {
    match (from, to) {
        ([from], [to]) => {
            see((*from).into());
            *to = B::wrap((*from).into());
            fits::<A, B>(*from)
        }
        (from, to) => convert_many(from, to, see),
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
#[inline(never)]
fn convert_many<A: Token, B: Token>(from: &[A], to: &mut [B], mut see: impl FnMut(i64)) -> bool {
    let ((from, last), (to, to_last)) = (from.as_chunks::<AT_ONCE>(), to.as_chunks_mut::<AT_ONCE>());
    let whole = from.iter().zip(to).fold(true, |whole, (from, to)| {
        *to = from.map(|id| B::wrap(id.into()));
        from.iter().for_each(|&id| see(id.into()));
        from.iter().fold(whole, |whole, &id| whole & fits::<A, B>(id))
    });
    last.iter().zip(to_last).fold(whole, |whole, (&id, to)| {
        *to = B::wrap(id.into());
        see(id.into());
        whole & fits::<A, B>(id)
    })
}

/// Whether no id is absent or ungenerated. One pass without branches: signs are gathered, not looked at.
pub(crate) fn all_present<A: Token>(ids: &[A]) -> bool {
    A::LEAST >= 0 || ids.iter().fold(0, |signs, &id| signs | id.into()) >= 0
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
