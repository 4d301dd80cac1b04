//! Numbers as HAProxy writes them and as datapoints carry them.

use std::fmt;
use std::time::Duration;

/// The value of a datapoint; always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A sum or a count.
    Integer(i64),
    /// A mean, or a sum that no 64 bits hold.
    Real(f64),
}

/// The largest integer below which each one has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// A real number, if it is one.
    pub(super) fn real(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Real(value))
    }

    /// A time in seconds, to the microsecond.
    #[must_use]
    pub fn seconds(time: Duration) -> Self {
        Self::Real((time.as_secs_f64() * 1e6).round() / 1e6)
    }

    /// The nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => to_real(value),
            Self::Real(value) => value,
        }
    }

    /// `sum / count`, if there is anything to divide by.
    pub(super) fn mean(sum: f64, count: u32) -> Option<Self> {
        (count > 0).then(|| Self::real(sum / f64::from(count))).flatten()
    }

    /// Appends it in the fewest digits that read back as the same number; a real one has a point or an exponent.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            #[allow(
                clippy::cast_possible_truncation,
                reason = "it was compared: the number is a small integer"
            )]
            Self::Real(value) if value.fract() == 0.0 && value.abs() < EXACT => {
                out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
                out.extend_from_slice(b".0");
            }
            Self::Real(value) => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// A number that HAProxy has written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read {
    /// The usual one.
    Integer(i64),
    /// One that no 64 bits hold (a counter that fell below 0), or with a fraction.
    Wide(f64),
}

/// Reads the last `len` of eight bytes, at most all of them, as the same number as [`read`] would: all digits at
/// once, by sums of neighbours. `None` is for `read` to look at again.
#[inline]
pub(super) fn read_short(bytes: [u8; 8], len: usize) -> Option<i64> {
    // Each byte a digit, where it is one; those before the field are leading zeros.
    let unused = 64 - 8 * u32::try_from(len).unwrap_or_default();
    let mask = u64::MAX.checked_shl(unused).unwrap_or_default();
    let digits = (u64::from_le_bytes(bytes) ^ (0x30 * ONES)) & mask;
    if (digits.wrapping_add(0x76 * ONES) | digits) & (0x80 * ONES) != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (odd, even) = (pairs & PAIRS, (pairs >> 16) & PAIRS);
    let sum = odd.wrapping_mul(100 + (1_000_000 << 32)).wrapping_add(even.wrapping_mul(1 + (10_000 << 32)));
    i64::try_from(sum >> 32).ok()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const PAIRS: u64 = 0x0000_00ff_0000_00ff;

/// So many digits always fit.
const SAFE_DIGITS: usize = 18;

/// Reads a field; an empty one counts nothing. `None` for what is no number.
#[inline]
pub(super) fn read(field: &[u8]) -> Option<Read> {
    let mut value = 0;
    if field.len() > SAFE_DIGITS {
        return read_any(field);
    }
    for byte in field {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return read_any(field);
        }
        value = value * 10 + i64::from(digit);
    }
    Some(Read::Integer(value))
}

#[cold]
fn read_any(field: &[u8]) -> Option<Read> {
    let text = std::str::from_utf8(field).ok()?;
    if let Ok(value) = text.parse() {
        return Some(Read::Integer(value));
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Read::Wide)
}

/// The nearest float.
#[allow(clippy::cast_precision_loss, reason = "a mean of counters beyond 2^53 may be off by its last digit")]
pub(super) fn to_real(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_read_to_their_last_digit() {
        for (field, expected) in [
            ("", Some(Read::Integer(0))),
            ("0", Some(Read::Integer(0))),
            ("007", Some(Read::Integer(7))),
            ("-1", Some(Read::Integer(-1))),
            ("9223372036854775807", Some(Read::Integer(i64::MAX))),
            ("18446744073709551615", Some(Read::Wide(18_446_744_073_709_551_615.0))),
            ("1.5", Some(Read::Wide(1.5))),
            ("nan", None),
            ("inf", None),
            ("12a", None),
            (" 1", None),
            ("é", None),
        ] {
            assert_eq!(read(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn short_fields_are_read_at_once() {
        for (bytes, len, expected) in [
            (b"1234567,", 0, Some(0)),
            (b"12,34,56", 2, Some(56)),
            (b"12345678", 8, Some(12_345_678)),
            (b"99999999", 8, Some(99_999_999)),
            (b"xxxxxxx0", 1, Some(0)),
            (b"xxxxxx-1", 2, None),
            (b"xxxxx1:1", 3, None),
            (b"xxxxx1/1", 3, None),
            (b"xxxxx1\xb01", 3, None),
        ] {
            assert_eq!(read_short(*bytes, len), expected, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_short_as_they_can_be() {
        for (number, expected) in [
            (Number::Integer(-3), "-3"),
            (Number::Real(1.0), "1.0"),
            (Number::Real(-0.5), "-0.5"),
            (Number::Real(254.0 / 3.0), "84.66666666666667"),
            (Number::Real(1e300), "1e+300"),
        ] {
            assert_eq!(number.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in prop::num::f64::NORMAL, whole in any::<i64>()) {
            prop_assert_eq!(Number::Real(value).to_string().parse(), Ok(value));
            prop_assert_eq!(Number::Real(to_real(whole)).to_string().parse(), Ok(to_real(whole)));
            prop_assert_eq!(read(whole.to_string().as_bytes()), Some(Read::Integer(whole)));
        }

        #[test]
        fn short_fields_are_read_as_others_are(bytes in prop::array::uniform8(0x2c_u8..0x3d), len in 0_usize..9) {
            match (read_short(bytes, len), read(&bytes[8 - len..])) {
                (Some(value), other) => prop_assert_eq!(other, Some(Read::Integer(value))),
                (None, other) => {
                    let is_other = bytes[8 - len..].iter().any(|byte| !byte.is_ascii_digit());
                    prop_assert!(is_other, "{:?}", other);
                }
            }
        }
    }
}
