//! Records as bytes: one byte that names the format of this record type, then bincode.

use super::table::Record;
use crate::error::{Error, ErrorKind, Result};
use bincode::config::{Configuration, Limit, LittleEndian, Varint};

/// Largest encoded record. sled moves values above about 128 KiB into blob files that it never syncs; 4 KiB is far
/// below that and keeps a row within a page.
pub(crate) const MAX_VALUE: usize = 4096;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_VALUE>> =
    bincode::config::standard().with_limit::<MAX_VALUE>();

/// The bytes of a record.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    out.push(R::FORMAT);
    bincode::serde::encode_into_std_write(record, &mut out, CONFIG)
        .map_err(|error| too_large::<R>(&error))?;
    if out.len() > MAX_VALUE {
        return Err(too_large::<R>(&format!("{} bytes", out.len())));
    }
    Ok(out)
}

fn too_large<R: Record>(cause: &dyn std::fmt::Display) -> Error {
    Error::limit(
        R::TABLE.name,
        format!("a {} record must fit {MAX_VALUE} bytes in all ({cause}); shorten its texts", R::TABLE.name),
    )
}

/// The record in some bytes. Refuses an unknown format, bytes left over, and lengths that the bytes can not hold.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    let name = R::TABLE.name;
    let Some((&format, body)) = bytes.split_first() else {
        return Err(Error::damaged(format!("a {name} record is empty")));
    };
    if format > R::FORMAT {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "a {name} record has format {format} and this version of portcullis reads up to {}; use a newer one",
                R::FORMAT
            ),
        ));
    }
    if format != R::FORMAT || bytes.len() > MAX_VALUE {
        return Err(Error::damaged(format!("a {name} record of {} bytes has format {format}", bytes.len())));
    }
    let (record, used) = bincode::serde::decode_from_slice(body, CONFIG)
        .map_err(|error| Error::damaged(format!("a {name} record does not decode")).caused_by(error))?;
    if used != body.len() {
        return Err(Error::damaged(format!("a {name} record has {} bytes left over", body.len() - used)));
    }
    Ok(record)
}
