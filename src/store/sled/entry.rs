//! The bytes of the journal: its headers, and the rows of one entry.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Head, Table, Version};

/// The format of the journal and of the state row. An older format is read and rewritten; a newer one is refused.
pub(super) const FORMAT: u32 = 1;

/// What tells one database from another, in the state row of the tables and in the journal.
pub(super) type DatabaseId = [u8; 16];

/// The unit in which the journal is laid out. An entry starts on a block of its own, so that writing it never
/// touches the block of one that was acknowledged.
pub(super) const BLOCK: usize = 4096;

/// Refuses what a later portcullis wrote.
pub(super) fn check_format(what: &str, found: u32) -> Result<()> {
    match found {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "the {what} has format {newer} and this version of portcullis reads up to {FORMAT}; use a newer one"
            ),
        )),
        older => Err(Error::damaged(format!(
            "the {what} has format {older}, which no version of portcullis wrote"
        ))),
    }
}

/// Where a database stands: the version of its latest commit and the head of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) version: Version,
    pub(super) head: Head,
}

/// One row as the tables and the journal hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowChange<'a> {
    pub(super) table: Table,
    pub(super) key: &'a [u8],
    pub(super) version: Version,
    pub(super) value: Option<&'a [u8]>,
}

/// Takes fields off the front of some bytes; `None` where they end too soon.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        let version = Version(self.u64()?);
        Some(Position { version, head: Head::from_bytes(self.take(Head::BYTES)?).ok()? })
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.take(usize::try_from(count).ok()?)
    }
}

pub(super) fn put_position(out: &mut Vec<u8>, position: &Position) {
    out.extend_from_slice(&position.version.0.to_be_bytes());
    out.extend_from_slice(&position.head.to_bytes());
}

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let count = u32::try_from(bytes.len())
        .map_err(|_| Error::limit("batch", format!("a field of {} bytes is too long", bytes.len())))?;
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends the payload of an entry: the head after it, the names of the tables it touches (numbers are known within
/// one process only), and its rows in the order in which they apply.
pub(super) fn encode_rows(out: &mut Vec<u8>, head: &Head, rows: &[RowChange<'_>]) -> Result<()> {
    let mut tables: Vec<Table> = Vec::new();
    for row in rows {
        if !tables.contains(&row.table) {
            tables.push(row.table);
        }
    }
    out.extend_from_slice(&head.to_bytes());
    out.push(u8::try_from(tables.len()).map_err(|_| Error::limit("batch", "a change may touch 255 tables"))?);
    for table in &tables {
        put_counted(out, table.name.as_bytes())?;
    }
    for row in rows {
        // At most 255 tables, so the place fits a byte.
        let place = tables.iter().position(|table| *table == row.table).and_then(|at| u8::try_from(at).ok());
        out.push(place.unwrap_or_default());
        out.extend_from_slice(&row.version.0.to_be_bytes());
        put_counted(out, row.key)?;
        out.push(u8::from(row.value.is_some()));
        put_counted(out, row.value.unwrap_or_default())?;
    }
    Ok(())
}

/// The head and the rows in the payload of an entry whose checksum holds.
pub(super) fn decode_rows<'a>(payload: &'a [u8], known: &[Table]) -> Result<(Head, Vec<RowChange<'a>>)> {
    let cut = || Error::damaged("a journal entry is cut short although its checksum is right");
    let mut reader = Reader(payload);
    let head = Head::from_bytes(reader.take(Head::BYTES).ok_or_else(cut)?)?;
    let mut tables = Vec::new();
    for _ in 0..reader.u8().ok_or_else(cut)? {
        let name = reader.counted().ok_or_else(cut)?;
        let table = known.iter().find(|table| table.name.as_bytes() == name).ok_or_else(|| unknown(name))?;
        tables.push(*table);
    }
    let mut rows = Vec::new();
    while !reader.0.is_empty() {
        rows.push(row(&mut reader, &tables).ok_or_else(cut)?);
    }
    Ok((head, rows))
}

fn unknown(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name).into_owned();
    Error::new(
        ErrorKind::NewerFormat,
        format!(
            "the journal writes to the table {name:?}, which this version of portcullis does not know; use a newer one"
        ),
    )
}

fn row<'a>(reader: &mut Reader<'a>, tables: &[Table]) -> Option<RowChange<'a>> {
    let table = *tables.get(usize::from(reader.u8()?))?;
    let version = Version(reader.u64()?);
    let key = reader.counted()?;
    let present = reader.u8()? == 1;
    let value = reader.counted()?;
    Some(RowChange { table, key, version, value: present.then_some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_and_a_cut_payload_is_refused() {
        let (a, b) = (Table::new(1, "a"), Table::new(2, "bb"));
        let rows = [
            RowChange { table: b, key: b"k", version: Version(3), value: Some(b"value") },
            RowChange { table: a, key: b"", version: Version(4), value: Some(b"") },
            RowChange { table: b, key: b"k", version: Version(4), value: None },
        ];
        let head = Head::default().extend(b"body");
        let mut payload = Vec::new();
        encode_rows(&mut payload, &head, &rows).unwrap();
        assert_eq!(decode_rows(&payload, &[a, b]).unwrap(), (head, rows.to_vec()));
        assert_eq!(decode_rows(&payload, &[a]).unwrap_err().kind(), ErrorKind::NewerFormat);
        let last = payload.len() - 1;
        assert_eq!(decode_rows(&payload[..last], &[a, b]).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        assert!(check_format("journal", FORMAT).is_ok());
        let error = check_format("journal", FORMAT + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
        assert!(error.to_string().contains("format 2") && error.to_string().contains("up to 1"), "{error}");
    }
}
