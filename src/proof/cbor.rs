//! CBOR in the one form that CTAP2 lets an authenticator write (FIDO CTAP 2.1, section 8): every value
//! has exactly one encoding, so that comparing bytes is comparing values.
//!
//! What no authenticator data has (floats, tags, `undefined`) is refused.

/// How many lists and maps may lie in each other. CTAP2 writes four at most; a registration holds what
/// an attestation format adds.
const DEEPEST: usize = 8;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Integer(i128),
    Bytes(&'a [u8]),
    Text(&'a str),
    List(Vec<Value<'a>>),
    /// Its members in their order, which is that of CTAP2.
    Map(Vec<(Value<'a>, Value<'a>)>),
    Boolean(bool),
    Null,
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CborRefusal {
    #[error("its CBOR ends early")]
    EndsEarly,
    #[error("its CBOR is not in the canonical form of CTAP2")]
    NotCanonical,
    #[error("its CBOR holds a float, a tag or another value that CTAP2 does not write")]
    Unsupported,
    #[error("its CBOR is nested more than {DEEPEST} deep")]
    TooDeep,
    #[error("a text in its CBOR is not UTF-8")]
    NotUtf8,
}

/// Reads the value that `bytes` start with, and leaves what follows it.
pub(super) fn read<'a>(bytes: &mut &'a [u8]) -> Result<Value<'a>, CborRefusal> {
    read_at(bytes, 0)
}

fn read_at<'a>(bytes: &mut &'a [u8], depth: usize) -> Result<Value<'a>, CborRefusal> {
    let (&first, rest) = bytes.split_first().ok_or(CborRefusal::EndsEarly)?;
    *bytes = rest;
    let major = first >> 5;
    if major >= 6 {
        return match first {
            0xf4 => Ok(Value::Boolean(false)),
            0xf5 => Ok(Value::Boolean(true)),
            0xf6 => Ok(Value::Null),
            _ => Err(CborRefusal::Unsupported),
        };
    }
    let argument = argument(bytes, first & 0x1f)?;
    if major >= 4 && depth >= DEEPEST {
        return Err(CborRefusal::TooDeep);
    }
    match major {
        0 => Ok(Value::Integer(i128::from(argument))),
        1 => Ok(Value::Integer(-1 - i128::from(argument))),
        2 => take(bytes, argument).map(Value::Bytes),
        3 => {
            let text = std::str::from_utf8(take(bytes, argument)?);
            text.map(Value::Text).map_err(|_| CborRefusal::NotUtf8)
        }
        // A claimed length reserves nothing: each element takes a byte of the input at least.
        4 => (0..argument)
            .map(|_| read_at(bytes, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::List),
        _ => read_map(bytes, argument, depth + 1),
    }
}

/// The number behind the first byte: a value, or a length. Never longer than it needs to be.
fn argument(bytes: &mut &[u8], short: u8) -> Result<u64, CborRefusal> {
    let width = match short {
        0..24 => return Ok(u64::from(short)),
        24..28 => 1_u64 << (short - 24),
        // 28 to 30 mean nothing; 31 leaves the length open.
        _ => return Err(CborRefusal::NotCanonical),
    };
    let number = take(bytes, width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let shorter = if width == 1 { 24 } else { 1 << (4 * width) };
    if number < shorter { Err(CborRefusal::NotCanonical) } else { Ok(number) }
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], CborRefusal> {
    let length = usize::try_from(length).map_err(|_| CborRefusal::EndsEarly)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CborRefusal::EndsEarly)?;
    *bytes = rest;
    Ok(taken)
}

/// Keys are numbers or texts, each once, in order: by major type, then by length, then by bytes.
fn read_map<'a>(bytes: &mut &'a [u8], length: u64, depth: usize) -> Result<Value<'a>, CborRefusal> {
    let mut members = Vec::new();
    let mut before: Option<(u8, usize, &[u8])> = None;
    for _ in 0..length {
        let start = *bytes;
        let key = read_at(bytes, depth)?;
        if !matches!(key, Value::Integer(_) | Value::Text(_)) {
            return Err(CborRefusal::Unsupported);
        }
        let encoded = &start[..start.len() - bytes.len()];
        let place = (encoded[0] >> 5, encoded.len(), encoded);
        if before.is_some_and(|before| before >= place) {
            return Err(CborRefusal::NotCanonical);
        }
        before = Some(place);
        members.push((key, read_at(bytes, depth)?));
    }
    Ok(Value::Map(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(hex: &str) -> CborRefusal {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        read(&mut bytes.as_slice()).expect_err(hex)
    }

    #[test]
    fn every_value_has_one_spelling() {
        let bytes =
            data_encoding::HEXLOWER.decode(b"a4011818200261618183f4f5f661624100ff").unwrap();
        let mut rest = bytes.as_slice();
        let inner = vec![Value::Boolean(false), Value::Boolean(true), Value::Null];
        let expected = Value::Map(vec![
            (Value::Integer(1), Value::Integer(24)),
            (Value::Integer(-1), Value::Integer(2)),
            (Value::Text("a"), Value::List(vec![Value::List(inner)])),
            (Value::Text("b"), Value::Bytes(&[0])),
        ]);
        assert_eq!(read(&mut rest), Ok(expected));
        assert_eq!(rest, [0xff]);
        let largest = [0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let number = Value::Integer(-1 - i128::from(u64::MAX));
        assert_eq!(read(&mut largest.as_slice()), Ok(number));
    }

    #[test]
    fn other_spellings_and_other_values_are_refused() {
        for (hex, expected) in [
            ("", CborRefusal::EndsEarly),
            ("18", CborRefusal::EndsEarly),
            ("1817", CborRefusal::NotCanonical),
            ("1900ff", CborRefusal::NotCanonical),
            ("1a0000ffff", CborRefusal::NotCanonical),
            ("1b00000000ffffffff", CborRefusal::NotCanonical),
            ("1c", CborRefusal::NotCanonical),
            ("5f4100ff", CborRefusal::NotCanonical),
            ("9fff", CborRefusal::NotCanonical),
            ("4200", CborRefusal::EndsEarly),
            ("5bffffffffffffffff", CborRefusal::EndsEarly),
            ("9bffffffffffffffff", CborRefusal::EndsEarly),
            ("bbffffffffffffffff", CborRefusal::EndsEarly),
            ("61ff", CborRefusal::NotUtf8),
            ("a202010101", CborRefusal::NotCanonical),
            ("a201010101", CborRefusal::NotCanonical),
            ("a220010101", CborRefusal::NotCanonical),
            ("a262616101616201", CborRefusal::NotCanonical),
            ("a1410001", CborRefusal::Unsupported),
            ("a1f401", CborRefusal::Unsupported),
            ("c001", CborRefusal::Unsupported),
            ("f7", CborRefusal::Unsupported),
            ("f93c00", CborRefusal::Unsupported),
            ("818181818181818180", CborRefusal::TooDeep),
        ] {
            assert_eq!(refusal(hex), expected, "{hex}");
        }
        let eight = [0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x80];
        assert!(read(&mut eight.as_slice()).is_ok());
    }
}
