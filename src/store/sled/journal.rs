//! The write-ahead journal: what is in it is durable, whatever sled has made of it.
//!
//! A file of fixed length, filled with zeros when it is made, so that a commit is one write in place and one
//! fdatasync. Block 0 and block 1 each hold a header; the one with the higher generation counts, and a checkpoint
//! writes the other one. The entries of the generation follow from block 2, each on blocks of its own.
//!
//! INVARIANT: the tables hold everything up to the base of the header, synced, before that header is written; so an
//! older copy of the tables, or a log that lost its end, shows as a version below the base.
//! INVARIANT: a checkpoint without entries writes no header; so the base of each header lies above the one before it,
//! and a journal whose newer header is damaged can not pass for the older one: the tables are beyond that.
//! INVARIANT: the checksum of an entry covers the checksum of the one before it (the first one: the header's), so
//! entries can not be dropped, swapped or taken from elsewhere. An entry also repeats that checksum, so that one which
//! follows a damaged one can still be told from leftovers.

use super::entry::{BLOCK, DatabaseId, Position, Reader, RowChange, check_format, encode_rows, put_position};
use super::entry::{FORMAT, decode_rows};
use super::shared::failed;
use crate::error::{Error, Result};
use crate::store::{FaultPoint, Faults, Table, Version};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"PORTCJNL";
const DOMAIN: &str = "portcullis 2026 journal";
const CHECKSUM: usize = 32;
/// A header with its checksum; every format keeps this length, the magic and the place of the format number.
const HEADER: usize = 256;
const FIRST_ENTRY: u64 = 2 * BLOCK as u64;
/// Length, generation, first and last version, and the checksum of the entry before.
const ENTRY_FIELDS: usize = 4 + 8 + 8 + 8 + CHECKSUM;

type Checksum = [u8; CHECKSUM];

fn checksum(id: &DatabaseId, bytes: &[u8]) -> Checksum {
    // The random identifier keeps whoever chooses the bytes of a row from writing what passes for an entry.
    blake3::Hasher::new_derive_key(DOMAIN).update(id).update(bytes).finalize().into()
}

/// What a header says, and its checksum, which seeds the chain of entries.
#[derive(Clone, Copy, Debug)]
struct Header {
    id: DatabaseId,
    generation: u64,
    base: Position,
    length: u64,
    seal: Checksum,
}

impl Header {
    fn seal(&mut self) -> [u8; HEADER] {
        let mut fields = Vec::with_capacity(HEADER);
        fields.extend_from_slice(MAGIC);
        fields.extend_from_slice(&FORMAT.to_be_bytes());
        fields.extend_from_slice(&self.id);
        fields.extend_from_slice(&self.generation.to_be_bytes());
        put_position(&mut fields, &self.base);
        fields.extend_from_slice(&self.length.to_be_bytes());
        fields.resize(HEADER - CHECKSUM, 0);
        self.seal = checksum(&self.id, &fields);
        let mut out = [0; HEADER];
        let (body, seal) = out.split_at_mut(HEADER - CHECKSUM);
        body.copy_from_slice(&fields);
        seal.copy_from_slice(&self.seal);
        out
    }

    /// `Ok(None)` where the bytes are no header: the other slot may have one.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some((format, header)) = Self::fields(bytes) else { return Ok(None) };
        check_format("journal", format)?;
        Ok(Some(header))
    }

    fn fields(bytes: &[u8]) -> Option<(u32, Self)> {
        let (fields, seal) = bytes.get(..HEADER)?.split_at_checked(HEADER - CHECKSUM)?;
        let mut reader = Reader(fields);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let format = reader.u32()?;
        let (id, generation) = (reader.array()?, reader.u64()?);
        let (base, length) = (reader.position()?, reader.u64()?);
        (checksum(&id, fields) == seal)
            .then_some((format, Self { id, generation, base, length, seal: seal.try_into().ok()? }))
    }
}

/// True where a file begins as a journal does.
pub(super) fn looks_like_one(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path).and_then(|file| file.read_exact_at(&mut start, 0)).is_ok() && &start == MAGIC
}

/// One entry as it was found in the file.
struct Found {
    first: Version,
    last: Version,
    previous: Checksum,
    seal: Checksum,
    payload: Vec<u8>,
}

impl Found {
    fn blocks(&self) -> u64 {
        blocks(ENTRY_FIELDS + self.payload.len() + CHECKSUM)
    }
}

/// The bytes that so many take when they are rounded up to whole blocks.
fn blocks(bytes: usize) -> u64 {
    (bytes.div_ceil(BLOCK) * BLOCK) as u64
}

/// The journal of an open database.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    header: Header,
    /// Where the next entry goes, and the checksum of the one before it.
    at: u64,
    chain: Checksum,
    last: Version,
    buffer: Vec<u8>,
    faults: Faults,
}

impl Journal {
    /// Fills a new journal with zeros and writes its first header.
    pub(super) fn create(file: File, id: DatabaseId, length: u64, faults: Faults) -> io::Result<Self> {
        let length = length.next_multiple_of(BLOCK as u64).max(FIRST_ENTRY + 16 * BLOCK as u64);
        let zeros = vec![0; 64 * BLOCK];
        let mut written = 0;
        while written < length {
            let count = (length - written).min(zeros.len() as u64);
            file.write_all_at(
                zeros.get(..usize::try_from(count).unwrap_or_default()).unwrap_or(&zeros),
                written,
            )?;
            written += count;
        }
        let header = Header { id, generation: 0, base: Position::default(), length, seal: [0; CHECKSUM] };
        let mut journal = Self::at_start(file, header, faults);
        // Only one: a second one with the same base would let a damaged header pass for an empty journal.
        journal.write_header(0, Position::default())?;
        journal.file.sync_all()?;
        Ok(journal)
    }

    fn at_start(file: File, header: Header, faults: Faults) -> Self {
        let (chain, last) = (header.seal, header.base.version);
        Self { file, header, at: FIRST_ENTRY, chain, last, buffer: Vec::new(), faults }
    }

    /// Reads the headers, and refuses a journal that is cut or of a newer format.
    pub(super) fn open(file: File, faults: Faults) -> Result<Self> {
        let length = file.metadata().map_err(|error| failed("read the length of the journal", error))?.len();
        let mut slots = Vec::new();
        for slot in 0..2 {
            let mut bytes = [0; HEADER];
            if let Err(error) = file.read_exact_at(&mut bytes, slot * BLOCK as u64)
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                return Err(failed("read the journal", error));
            }
            slots.extend(Header::read(&bytes)?);
        }
        let Some(header) = slots.into_iter().max_by_key(|header| header.generation) else {
            return Err(Error::damaged(
                "the file `journal` has no valid header: it is damaged, or not the journal of a portcullis \
                 database; restore the database from a backup",
            ));
        };
        if header.length != length {
            return Err(Error::damaged(format!(
                "the file `journal` has {length} bytes and was made with {}: it was cut or replaced; restore the \
                 database from a backup",
                header.length
            )));
        }
        Ok(Self::at_start(file, header, faults))
    }

    pub(super) fn id(&self) -> &DatabaseId {
        &self.header.id
    }

    /// Where the tables stood, synced, when this generation began.
    pub(super) fn base(&self) -> Position {
        self.header.base
    }

    /// The most that the payload of one entry can weigh.
    pub(super) fn capacity(&self) -> usize {
        let room = usize::try_from(self.header.length - FIRST_ENTRY).unwrap_or(usize::MAX);
        room - ENTRY_FIELDS - CHECKSUM
    }

    /// Hands over the entries in order, and leaves the journal ready to append after the last of them. Says whether
    /// there were any.
    ///
    /// A write that a crash cut short is normal, and dropped: it was never acknowledged. A bad entry with a good one
    /// behind it is damage.
    pub(super) fn replay(
        &mut self,
        known: &[Table],
        mut each: impl FnMut(Position, &[RowChange<'_>]) -> Result<()>,
    ) -> Result<bool> {
        loop {
            let found = self.entry_at(self.at)?;
            let Some(found) =
                found.filter(|found| found.previous == self.chain && found.first.0 == self.last.0 + 1)
            else {
                self.refuse_if_followed()?;
                return Ok(self.at > FIRST_ENTRY);
            };
            let (head, rows) = decode_rows(&found.payload, known)?;
            each(Position { version: found.last, head }, &rows)?;
            self.at += found.blocks();
            self.chain = found.seal;
            self.last = found.last;
        }
    }

    /// The version of the last valid entry, or of the base where there is none.
    pub(super) fn last(&self) -> Version {
        self.last
    }

    fn refuse_if_followed(&self) -> Result<()> {
        let mut at = self.at;
        while at < self.header.length {
            if let Some(found) = self.entry_at(at)?
                && found.first > self.last
            {
                return Err(Error::damaged(format!(
                    "the journal is damaged after {}: what follows at byte {} is not readable although {} comes \
                     after it; restore the database from a backup (no record was changed)",
                    self.last, self.at, found.last
                )));
            }
            at += BLOCK as u64;
        }
        Ok(())
    }

    /// The entry of this generation that starts at a block, if a whole one does.
    fn entry_at(&self, at: u64) -> Result<Option<Found>> {
        let read = |count: usize, at: u64| {
            let mut bytes = vec![0; count];
            self.file.read_exact_at(&mut bytes, at).map_err(|error| failed("read the journal", error))?;
            Ok(bytes)
        };
        if self.header.length.saturating_sub(at) < BLOCK as u64 {
            return Ok(None);
        }
        let fields = read(ENTRY_FIELDS, at)?;
        let Some((count, generation, first, last, previous)) = entry_fields(&fields) else { return Ok(None) };
        let whole = ENTRY_FIELDS + count + CHECKSUM;
        if generation != self.header.generation || first > last || blocks(whole) > self.header.length - at {
            return Ok(None);
        }
        let bytes = read(whole, at)?;
        let Some((covered, seal)) = bytes.split_at_checked(whole - CHECKSUM) else { return Ok(None) };
        let expected = checksum(&self.header.id, covered);
        let payload = covered.get(ENTRY_FIELDS..).unwrap_or_default().to_vec();
        Ok((seal == expected).then_some(Found { first, last, previous, seal: expected, payload }))
    }

    /// Lays out the entry for some rows, and says whether it fits into what is left; if not, a checkpoint makes room.
    pub(super) fn prepare(&mut self, after: Position, rows: &[RowChange<'_>]) -> Result<()> {
        let first = Version(self.last.0 + 1);
        self.buffer.clear();
        self.buffer.resize(ENTRY_FIELDS, 0);
        encode_rows(&mut self.buffer, &after.head, rows)?;
        let payload = u32::try_from(self.buffer.len() - ENTRY_FIELDS);
        let payload = payload.map_err(|_| Error::limit("batch", "a change may weigh 4 GiB"))?;
        let mut fields = Vec::with_capacity(ENTRY_FIELDS);
        fields.extend_from_slice(&payload.to_be_bytes());
        fields.extend_from_slice(&self.header.generation.to_be_bytes());
        fields.extend_from_slice(&first.0.to_be_bytes());
        fields.extend_from_slice(&after.version.0.to_be_bytes());
        if let Some(start) = self.buffer.get_mut(..fields.len()) {
            start.copy_from_slice(&fields);
        }
        Ok(())
    }

    /// Whether the entry that was prepared fits behind the ones before it.
    pub(super) fn fits(&self) -> bool {
        blocks(self.buffer.len() + CHECKSUM) <= self.header.length - self.at
    }

    /// Writes and syncs the entry that was prepared: the moment of durability.
    pub(super) fn append(&mut self, after: Position) -> io::Result<()> {
        // A checkpoint may have come between: the generation and the chain are those of now.
        let generation = self.header.generation.to_be_bytes();
        if let Some(field) = self.buffer.get_mut(4..12) {
            field.copy_from_slice(&generation);
        }
        if let Some(field) = self.buffer.get_mut(ENTRY_FIELDS - CHECKSUM..ENTRY_FIELDS) {
            field.copy_from_slice(&self.chain);
        }
        let seal = checksum(&self.header.id, &self.buffer);
        self.buffer.extend_from_slice(&seal);
        let half = self.buffer.len() / 2;
        self.buffer.resize(self.buffer.len().next_multiple_of(BLOCK), 0);
        if let Err(error) = self.faults.hit(FaultPoint::JournalWrite) {
            self.file.write_all_at(self.buffer.get(..half).unwrap_or_default(), self.at)?;
            return Err(error);
        }
        self.file.write_all_at(&self.buffer, self.at)?;
        self.faults.hit(FaultPoint::JournalSync)?;
        self.file.sync_data()?;
        self.at += self.buffer.len() as u64;
        self.chain = seal;
        self.last = after.version;
        Ok(())
    }

    /// Starts the next generation, if this one has entries. The caller has synced the tables up to `base`.
    pub(super) fn restart(&mut self, base: Position) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.write_header(self.header.generation + 1, base)?;
        self.file.sync_data()
    }

    /// True where a restart would change nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.at == FIRST_ENTRY
    }

    fn write_header(&mut self, generation: u64, base: Position) -> io::Result<()> {
        let mut header = Header { generation, base, ..self.header };
        let bytes = header.seal();
        self.file.write_all_at(&bytes, generation % 2 * BLOCK as u64)?;
        self.header = header;
        (self.at, self.chain, self.last) = (FIRST_ENTRY, header.seal, base.version);
        Ok(())
    }
}

fn entry_fields(bytes: &[u8]) -> Option<(usize, u64, Version, Version, Checksum)> {
    let mut reader = Reader(bytes);
    let count = usize::try_from(reader.u32()?).ok()?;
    Some((count, reader.u64()?, Version(reader.u64()?), Version(reader.u64()?), reader.array()?))
}

/// Makes both headers those of a later portcullis.
#[cfg(test)]
pub(super) fn raise_format(journal: &mut [u8]) {
    for slot in journal.chunks_mut(BLOCK).take(2).filter(|slot| slot.starts_with(MAGIC)) {
        let (fields, rest) = slot.split_at_mut(HEADER - CHECKSUM);
        fields[11] = 2;
        let id = fields[12..28].try_into().unwrap();
        rest[..CHECKSUM].copy_from_slice(&checksum(&id, fields));
    }
}
