//! Records as bytes: one byte that names the format of this record type, then bincode.

use super::table::Record;
use crate::error::{Error, ErrorKind, Result};
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest encoded record. sled moves values above about 128 KiB into blob files that it never syncs; 4 KiB is far
/// below that and keeps a row within a page.
pub(crate) const MAX_VALUE: usize = 4096;

/// What a decoder may claim of memory before it has read that much. bincode counts eight bytes for every length and
/// more for an integer than it takes encoded, so this is above anything that [`MAX_VALUE`] bytes can really hold, and
/// small enough that lengths which lie allocate nothing to speak of.
const MAX_CLAIM: usize = 16 * MAX_VALUE;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_CLAIM>> =
    bincode::config::standard().with_limit::<MAX_CLAIM>();

/// The bytes of a record.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Vec<u8>> {
    encode_value(R::TABLE.name, R::FORMAT, record)
}

/// The record in some bytes.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    decode_value(R::TABLE.name, R::FORMAT, bytes)
}

/// The bytes of a value of the named table: what is not a [`Record`] with a key of its own, such as a log body.
pub(crate) fn encode_value<T: Serialize>(name: &'static str, format: u8, value: &T) -> Result<Vec<u8>> {
    let too_large = |cause: &dyn std::fmt::Display| {
        Error::limit(
            name,
            format!(
                "a {name} record must fit {MAX_VALUE} bytes in all ({cause}); shorten its texts or hold fewer"
            ),
        )
    };
    let mut out = Vec::with_capacity(256);
    out.push(format);
    bincode::serde::encode_into_std_write(value, &mut out, CONFIG).map_err(|error| too_large(&error))?;
    if out.len() > MAX_VALUE {
        return Err(too_large(&format_args!("{} bytes", out.len())));
    }
    Ok(out)
}

/// The value in some bytes. Refuses an unknown format, bytes left over, and lengths that the bytes can not hold.
pub(crate) fn decode_value<T: DeserializeOwned>(name: &'static str, expected: u8, bytes: &[u8]) -> Result<T> {
    let Some((&format, body)) = bytes.split_first() else {
        return Err(Error::damaged(format!("a {name} record is empty")));
    };
    if format > expected {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "a {name} record has format {format} and this version of portcullis reads up to {expected}; use a \
                 newer one"
            ),
        ));
    }
    if format != expected || bytes.len() > MAX_VALUE {
        return Err(Error::damaged(format!("a {name} record of {} bytes has format {format}", bytes.len())));
    }
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG)
        .map_err(|error| Error::damaged(format!("a {name} record does not decode")).caused_by(error))?;
    if used != body.len() {
        return Err(Error::damaged(format!("a {name} record has {} bytes left over", body.len() - used)));
    }
    Ok(value)
}
