//! Seconds, frames, and the one rule that leads from the first to the second.
//!
//! ```text
//! frame      0        1        2              28       29       30      floor(seconds x rate)
//!       |--------|--------|--------|  ...  |--------|--------|
//! 12.5  0      0.08     0.16             2.24     2.32     2.40 s
//! ```
//!
//! 2.32 s begins frame 29. In doubles 2.32 x 12.5 is just under 29 and lands in frame 28; so a time is kept as the
//! decimal number that was written, and the arithmetic on it is exact.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Units of a [`Seconds`] in one second. Digits further right are dropped, toward minus infinity.
const ONE: i128 = 1_000_000_000_000_000_000_000_000;
const DECIMALS: i32 = 24;
/// Thirty thousand years, for sums over any corpus; keeps every product below within 128 bits.
const MAX_SECONDS: i128 = 1_000_000_000_000;

/// An instant or a length in seconds, exact to 24 decimals.
///
/// # Examples
/// ```
/// use roundelay::{FrameRate, Seconds};
/// let rate: FrameRate = "12.5".parse()?;
/// assert_eq!(rate.floor("2.32".parse()?), 29);
/// assert_eq!(Seconds::from_f64(0.1)? + Seconds::from_f64(0.2)?, Seconds::from_f64(0.3)?);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seconds(i128);

impl Seconds {
    /// The beginning.
    pub const ZERO: Seconds = Seconds(0);

    /// The decimal that `value` prints as: its shortest form that reads back as the same double.
    ///
    /// # Errors
    /// `Invalid` if `value` is not finite or beyond a million million seconds.
    pub fn from_f64(value: f64) -> Result<Self> {
        if !value.is_finite() {
            return Err(Error::invalid("time", value, "a finite number of seconds"));
        }
        format!("{value:e}").parse()
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        // The decimal is exact and the parser rounds correctly, so no second rounding creeps in.
        self.of_nanoseconds().unwrap_or_else(|| self.to_string().parse().expect("a decimal number is a valid double"))
    }

    /// The nearest double of a whole number of nanoseconds, which most times are: both sides of the division are exact,
    /// so that its rounding is the only one.
    fn of_nanoseconds(self) -> Option<f64> {
        const NANOSECOND: i128 = ONE / 1_000_000_000;
        let count = (self.0 as f64 / NANOSECOND as f64).round();
        let exact = count.abs() < (1i64 << 53) as f64 && i128::from(count as i64) * NANOSECOND == self.0;
        exact.then_some(count / 1e9)
    }

    /// `samples / sample_rate`, to 24 decimals; at most a million million seconds.
    pub fn of_samples(samples: u64, sample_rate: u32) -> Self {
        Seconds::quotient(samples.into(), sample_rate.max(1))
    }

    /// Reads a decimal number as [`str::parse`] does, but drops no digit.
    pub(crate) fn exact(text: &str) -> Result<Self> {
        match shift(text)? {
            Shifted { rest: true, .. } => Err(Error::invalid("time", text, format!("at most {DECIMALS} decimals"))),
            Shifted { floor, .. } => Ok(Seconds(floor)),
        }
    }

    /// `number / divisor`, neither below 0. What lies past the limit for reading stops there, so that sums still fit.
    fn quotient(number: i128, divisor: u32) -> Self {
        let divisor = i128::from(divisor);
        match number / divisor {
            whole if whole < MAX_SECONDS => Seconds(whole * ONE + number % divisor * ONE / divisor),
            _ => Seconds(MAX_SECONDS * ONE),
        }
    }
}

impl std::ops::Add for Seconds {
    type Output = Seconds;
    fn add(self, other: Seconds) -> Seconds {
        Seconds(self.0 + other.0)
    }
}

impl std::ops::Sub for Seconds {
    type Output = Seconds;
    fn sub(self, other: Seconds) -> Seconds {
        Seconds(self.0 - other.0)
    }
}

/// Reads a decimal number: sign, digits, fraction, exponent, as JSON writes them.
impl FromStr for Seconds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Seconds(shift(text)?.floor))
    }
}

/// A number of units, and whether non-zero digits lie further right.
struct Shifted {
    floor: i128,
    rest: bool,
}

/// A decimal number as units, toward minus infinity.
fn shift(text: &str) -> Result<Shifted> {
    let bad = || Error::invalid("time", text, "a decimal number of seconds");
    let (body, exponent) = match text.split_once(['e', 'E']) {
        Some((body, exponent)) => (body, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (text, 0),
    };
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(bad());
    }
    let point = whole.len() as i64 + i64::from(exponent);
    let Shifted { floor, rest } = shift_digits(digits(), point)
        .ok_or_else(|| Error::invalid("time", text, format!("between -{MAX_SECONDS} and {MAX_SECONDS} seconds")))?;
    Ok(Shifted { floor: if negative { -floor - i128::from(rest) } else { floor }, rest })
}

/// Digits with the decimal point after the first `point` of them, as units; `None` if that is too much.
fn shift_digits(digits: impl Iterator<Item = u8>, point: i64) -> Option<Shifted> {
    let (mut floor, mut rest, mut place) = (0i128, false, point);
    for digit in digits {
        let digit = i128::from(digit - b'0');
        place -= 1;
        let power = place.saturating_add(i64::from(DECIMALS));
        if digit == 0 {
            continue;
        }
        if power < 0 {
            rest = true;
        } else {
            // Past 10^36 units there are more seconds than the limit.
            floor += (power <= 36).then(|| digit * 10i128.pow(power as u32))?;
        }
    }
    (floor <= MAX_SECONDS * ONE).then_some(Shifted { floor, rest })
}

/// Prints the shortest decimal, never with an exponent.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.abs() / ONE, self.0.abs() % ONE);
        let fraction = format!("{fraction:024}");
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        f.pad(&format!("{sign}{whole}{dot}{fraction}"))
    }
}

impl fmt::Debug for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} s")
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_f64())
    }
}

/// Reads a number through its double; readers that hold the text parse that instead.
impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Seconds::from_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Frames in a second, as an exact fraction: 12.5 is 25/2, DAC's 86.1328125 is 11025/128.
///
/// # Examples
/// ```
/// use roundelay::FrameRate;
/// let rate: FrameRate = "12.5".parse()?;
/// assert_eq!(rate.ceil("0.56".parse()?), 7);
/// assert_eq!(rate.start_of(29).to_string(), "2.32");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
    /// 2^128 / (seconds x units in a second): to multiply by, instead of dividing.
    reciprocal: i64,
}

impl FrameRate {
    /// `frames` in `seconds`, reduced.
    ///
    /// # Errors
    /// `Invalid` if either is 0.
    pub fn new(frames: u32, seconds: u32) -> Result<Self> {
        if frames == 0 || seconds == 0 {
            return Err(Error::invalid("frame rate", format!("{frames}/{seconds}"), "a positive fraction"));
        }
        let common = greatest_common_divisor(frames.into(), seconds.into()) as u32;
        let (frames, seconds) = (frames / common, seconds / common);
        Ok(FrameRate { frames, seconds, reciprocal: (u128::MAX / ONE as u128 / u128::from(seconds)) as i64 })
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// The frame in which `time` lies: floor(seconds x rate). Negative before the beginning.
    #[inline]
    pub fn floor(self, time: Seconds) -> i64 {
        self.floor_of_near(time).unwrap_or_else(|| self.scaled(time).0)
    }

    /// The number of frames that cover a length: ceil(seconds x rate).
    pub fn ceil(self, length: Seconds) -> i64 {
        let (floor, exact) = self.scaled(length);
        floor + i64::from(!exact)
    }

    /// When a frame begins, to 24 decimals; at most a million million seconds.
    pub fn start_of(self, frame: usize) -> Seconds {
        Seconds::quotient(frame as i128 * i128::from(self.seconds), self.frames)
    }

    /// Samples in one frame.
    ///
    /// # Errors
    /// `Invalid` if the rate does not divide the sample rate.
    pub fn samples_per_frame(self, sample_rate: u32) -> Result<usize> {
        let samples = u64::from(sample_rate) * u64::from(self.seconds);
        if !samples.is_multiple_of(self.frames.into()) || samples == 0 {
            return Err(Error::invalid("sample rate", sample_rate, format!("a multiple of {self} frames a second")));
        }
        Ok((samples / u64::from(self.frames)) as usize)
    }

    /// floor(seconds x rate) of a time within some hours, by multiplying: dividing 128 bits takes ten times as long.
    #[inline]
    fn floor_of_near(self, time: Seconds) -> Option<i64> {
        if ((time.0 >> 64) as i64).unsigned_abs() >> 30 != 0 {
            return None;
        }
        let (product, frame) = (time.0 * i128::from(self.frames), i128::from(self.seconds) * ONE);
        // Without the lower half, and with a quotient cut to 64 bits, this misses by one frame at most.
        let about = (i128::from((product >> 64) as i64) * i128::from(self.reciprocal)) >> 64;
        let rest = product - about * frame;
        Some(about as i64 - i64::from(rest < 0) + i64::from(rest >= frame))
    }

    /// floor(seconds x rate), and whether that was exact.
    fn scaled(self, time: Seconds) -> (i64, bool) {
        let frames = i128::from(self.frames);
        let part = time.0.rem_euclid(ONE) * frames;
        let whole = time.0.div_euclid(ONE) * frames + part / ONE;
        let seconds = i128::from(self.seconds);
        let exact = part % ONE == 0 && whole.rem_euclid(seconds) == 0;
        let frames = whole.div_euclid(seconds).clamp(i64::MIN.into(), i64::MAX.into());
        (frames as i64, exact)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Reads frames a second: a decimal number, or a fraction such as `50/3`.
impl FromStr for FrameRate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid("frame rate", text, "a positive number with up to 9 digits, as 12.5, or 50/3");
        if let Some((frames, seconds)) = text.split_once('/') {
            let part = |number: &str| number.parse().map_err(|_| bad());
            return FrameRate::new(part(frames)?, part(seconds)?);
        }
        let value = Seconds::exact(text).map_err(|_| bad())?.0;
        if value <= 0 {
            return Err(bad());
        }
        // value / ONE reduced; both parts must fit, which bounds the digits.
        let mut common = (value, ONE);
        while common.1 != 0 {
            common = (common.1, common.0 % common.1);
        }
        let part = |number: i128| u32::try_from(number / common.0).map_err(|_| bad());
        FrameRate::new(part(value)?, part(ONE)?)
    }
}

/// Prints the decimal where there is one, else the fraction.
impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, seconds) = (i128::from(self.frames), i128::from(self.seconds));
        match frames * ONE % seconds {
            0 => write!(f, "{}", Seconds(frames * ONE / seconds)),
            _ => write!(f, "{frames}/{seconds}"),
        }
    }
}

impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} Hz")
    }
}

/// Writes a number where that reads back as this rate, else the fraction as text.
impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let number = self.to_f64();
        match number.to_string().parse() {
            Ok(FrameRate { frames, seconds, .. }) if (frames, seconds) == (self.frames, self.seconds) => {
                serializer.serialize_f64(number)
            }
            _ => serializer.collect_str(&format_args!("{}/{}", self.frames, self.seconds)),
        }
    }
}

/// Reads a number, or text as [`str::parse`] does.
impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = FrameRate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frames a second, as 12.5 or \"50/3\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<FrameRate, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> std::result::Result<FrameRate, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<FrameRate, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<FrameRate, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Seconds {
        text.parse().unwrap()
    }

    #[test]
    fn every_two_decimal_time_lands_in_its_frame() {
        let rate = FrameRate::new(25, 2).unwrap();
        for hundredths in 0..12_000i64 {
            let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            assert_eq!(rate.floor(seconds(&text)), hundredths * 25 / 200, "{text}");
            assert_eq!(rate.floor(Seconds::from_f64(text.parse().unwrap()).unwrap()), hundredths * 25 / 200, "{text}");
            assert_eq!(rate.ceil(seconds(&text)), (hundredths * 25 + 199) / 200, "{text}");
        }
    }

    #[test]
    fn numbers_read_as_json_writes_them() {
        assert_eq!(seconds("1.25e1"), seconds("12.5"));
        assert_eq!(seconds("-0.5E-1"), seconds("-0.05"));
        assert_eq!(seconds("0"), Seconds::ZERO);
        for wrong in ["", ".", "-", "NaN", "inf", "1.2.3", "0x1", "1e", "1e99", "1 s", "٣"] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn digits_past_the_last_are_floored() {
        assert!(seconds("1e-30") == Seconds::ZERO);
        assert!(seconds("-1e-30") < Seconds::ZERO);
        assert_eq!(FrameRate::new(25, 2).unwrap().floor(seconds("-1e-30")), -1);
        assert_eq!(FrameRate::new(25, 2).unwrap().floor(seconds("0.0799999999999999999999999999")), 0);
        assert_eq!(Seconds::exact("0.08000").unwrap(), seconds("0.08"));
        assert_eq!(Seconds::exact("1e-25").unwrap_err().to_string(), "time is 1e-25, expected at most 24 decimals");
    }

    #[test]
    fn doubles_round_trip() {
        for value in [0.0, -1.5, 2.32, 0.1 + 0.2, 1e-9, 123456.789, 1.0 / 3.0, 9007199.254740993, 1e12, -1e-10] {
            assert_eq!(Seconds::from_f64(value).unwrap().to_f64(), value);
        }
        for milliseconds in (-5000..5000).chain(3_599_000..3_601_000) {
            let text = format!("{milliseconds}e-3");
            assert_eq!(seconds(&text).to_f64(), text.parse::<f64>().unwrap());
        }
        assert!(Seconds::from_f64(f64::NAN).is_err());
    }

    #[test]
    fn the_short_way_to_a_frame_gives_the_same_as_the_long_one() {
        let mut near = 0;
        for (frames, seconds) in edges().flat_map(|frames| edges().map(move |seconds| (frames, seconds))) {
            let rate = FrameRate::new(frames, seconds).unwrap();
            let starts = [0, 1, 2, 7, 1_000, 44_100, 3_000_000_000].map(|frame| rate.start_of(frame).0);
            let times = starts.into_iter().chain([ONE / 3, 7 * ONE, (1 << 94) - 1, 1 << 94, MAX_SECONDS * ONE]);
            for time in times.flat_map(|time| [time - 1, time, time + 1, -time, -time - 1, 1 - time]).map(Seconds) {
                let short = rate.floor_of_near(time);
                assert!(short.is_none_or(|frame| frame == rate.scaled(time).0), "{time} at {frames}/{seconds}");
                near += usize::from(short.is_some());
            }
        }
        assert!(near > 300_000, "{near}");
    }

    #[test]
    fn rates_are_exact_fractions() {
        let rate = |text: &str| text.parse::<FrameRate>();
        assert_eq!(rate("86.1328125").unwrap(), FrameRate::new(11025, 128).unwrap());
        assert_eq!(rate("12.5").unwrap().samples_per_frame(24_000).unwrap(), 1920);
        assert!(rate("12.5").unwrap().samples_per_frame(0).is_err());
        assert!(rate("12.5").unwrap().samples_per_frame(44_101).is_err());
        assert_eq!(FrameRate::new(1, 3).unwrap().to_string(), "1/3");
        for wrong in ["0", "-1", "x", "1e300", "12.123456789012", "1e-1000", "0/1", "1/0", "-1/3", "1/", "1/2/3"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    /// Numbers about which decimals and doubles change their mind.
    fn edges() -> impl Iterator<Item = u32> {
        let powers = (0..32).map(|bits| 1 << bits).chain((0..10).map(|zeros| 10u32.pow(zeros)));
        let near = powers.flat_map(|power: u32| [power - 1, power, power.saturating_add(1)]);
        near.chain([44_100, 11_025, 16_777_213, u32::MAX - 1, u32::MAX]).filter(|&number| number > 0)
    }

    #[test]
    fn every_rate_prints_and_reads_back() {
        let (mut numbers, mut fractions) = (0, 0);
        for (frames, seconds) in edges().flat_map(|frames| edges().map(move |seconds| (frames, seconds))) {
            let rate = FrameRate::new(frames, seconds).unwrap();
            assert_eq!(rate.to_string().parse::<FrameRate>().unwrap(), rate, "{frames}/{seconds}");
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<FrameRate>(&json).unwrap(), rate, "{json}");
            *(if json.contains('/') { &mut fractions } else { &mut numbers }) += 1;
        }
        assert!(numbers > 1000 && fractions > 1000, "{numbers} numbers and {fractions} fractions");
        assert_eq!(serde_json::to_string(&FrameRate::new(50, 3).unwrap()).unwrap(), "\"50/3\"");
        assert_eq!(serde_json::to_string(&FrameRate::new(25, 2).unwrap()).unwrap(), "12.5");
        for wrong in ["null", "-5", "0", "16.666666666666668", "\"x\"", "\"1/0\"", "[25, 2]"] {
            assert!(serde_json::from_str::<FrameRate>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_beyond_the_limit_stop_there() {
        let limit = seconds("1e12");
        assert_eq!(FrameRate::new(1, u32::MAX).unwrap().start_of(usize::MAX), limit);
        assert_eq!(FrameRate::new(25, 2).unwrap().start_of(usize::MAX), limit);
        assert_eq!(FrameRate::new(1, 1).unwrap().start_of(999_999_999_999), seconds("999999999999"));
        assert_eq!((Seconds::of_samples(u64::MAX, 0), Seconds::of_samples(u64::MAX, 1)), (limit, limit));
        assert_eq!(Seconds::of_samples(u64::MAX, u32::MAX), seconds("4294967297"));
    }
}
