//! The fields of a protobuf message, as they lie in the file.
//!
//! ```text
//! 0a 05 │ 0a 03 e2 96 81 │ 1a 02 │ 18 02       tag, length, bytes; tag = field number x 8 + wire type
//! └─ field 1, 5 bytes ───┘ └─ field 3, 2 bytes
//! ```

use crate::error::{Error, Result};

/// A field's value. Messages, strings and bytes look alike; the reader of the field knows which it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Number(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Reads the fields of one message in order. After an error it ends.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Value<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0 && number < 1 << 29);
        let number = number.ok_or_else(|| malformed(format!("a field has the tag {tag}")))?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.take(4)?.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))),
            wire => return Err(malformed(format!("field {number} has the wire type {wire}"))),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number has more than ten bytes"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let head = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (head, rest) = head
            .ok_or_else(|| malformed(format!("it is cut off: {length} bytes announced, {} left", self.rest.len())))?;
        self.rest = rest;
        Ok(head)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The one name under which a model that cannot be read is reported.
pub(super) fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("SentencePiece model", detail)
}

/// Writes messages for tests.
#[cfg(test)]
pub(super) mod write {
    pub(in super::super) fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    pub(in super::super) fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    pub(in super::super) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }

    pub(in super::super) fn float(field: u64, value: f32) -> Vec<u8> {
        [varint(field << 3 | 5), value.to_le_bytes().to_vec()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_written() {
        let message = [write::number(3, 300), write::bytes(1, b"abc"), write::float(2, 1.5), vec![0x21; 9]].concat();
        let fields: Vec<_> = Fields::new(&message).map(Result::unwrap).collect();
        let expected = [
            (3, Value::Number(300)),
            (1, Value::Bytes(b"abc")),
            (2, Value::Fixed32(1.5f32.to_bits())),
            (4, Value::Fixed64),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn wrong_bytes_are_one_error_and_the_end() {
        for wrong in [&[0x0a][..], &[0x0a, 5, 1], &[0x00, 1], &[0x0b], &[0x0d, 1, 2], &[0xff; 11], &[0x0a, 0xff]] {
            let fields: Vec<_> = Fields::new(wrong).collect();
            assert!(matches!(fields[..], [Err(_)]), "{wrong:?}");
        }
    }
}
