//! Reading the audit log.

use super::page::{Page, PageRequest};
use super::{Engine, Portcullis};
use crate::audit::{
    self, AUDIT, AUDIT_BY_ACTOR, AUDIT_BY_KIND, AUDIT_BY_SUBJECT, Actor, AuditKind, AuditRecord, Subject,
};
use crate::error::{Error, Result};
use crate::id::Key;
use crate::store::{Scan, Table};
use std::fmt;

/// Reads the audit log; get it from [`Portcullis::audit`].
///
/// Every listing is in the order of the log, which is the order of the commits.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'g> {
    pub(super) gate: &'g Portcullis,
}

/// The end of the audit log: its length, and a digest that commits to every record before it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditHead {
    /// How many records there are.
    pub length: u64,
    /// Changes if any record is changed, dropped, added or swapped.
    pub digest: [u8; 32],
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHead({}, {})", self.length, blake3::Hash::from_bytes(self.digest))
    }
}

impl Audit<'_> {
    /// All records.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<AuditRecord>> {
        let scan = page.scan(AUDIT, &[])?;
        let rows = self.gate.engine().store.scan(AUDIT, &scan)?;
        let next = (rows.len() >= scan.limit).then(|| rows.last().map(|row| row.key.clone())).flatten();
        let records = rows.iter().map(|row| audit::decode(&row.key, &row.value).map(|(record, _)| record));
        Ok(Page::new(records.collect::<Result<_>>()?, AUDIT, next))
    }

    /// What somebody did, in their own name or [as another user](AuditRecord::impersonator), and what others did as them.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_actor(&self, actor: Actor, page: &PageRequest) -> Result<Page<AuditRecord>> {
        self.page_by(AUDIT_BY_ACTOR, &actor.bytes(), page)
    }

    /// What happened to somebody or something, or with its part: the role of an assignment, the session of a login.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_subject(&self, subject: Subject, page: &PageRequest) -> Result<Page<AuditRecord>> {
        self.page_by(AUDIT_BY_SUBJECT, &subject.bytes(), page)
    }

    /// What happened of one kind.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_kind(&self, kind: AuditKind, page: &PageRequest) -> Result<Page<AuditRecord>> {
        self.page_by(AUDIT_BY_KIND, &u16::from(kind).bytes(), page)
    }

    fn page_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<AuditRecord>> {
        let (records, next) = self.gate.engine().records_by(index, &page.scan(index, prefix)?)?;
        Ok(Page::new(records, index, next))
    }

    /// The end of the log as of the latest commit. Keep it elsewhere, and a log that was rewritten will not match.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        let head = self.gate.engine().store.head();
        AuditHead { length: head.length, digest: head.digest }
    }
}

impl Engine {
    /// Records by an index, and where to go on.
    pub(super) fn records_by(
        &self,
        index: Table,
        scan: &Scan<'_>,
    ) -> Result<(Vec<AuditRecord>, Option<Vec<u8>>)> {
        let rows = self.store.scan(index, scan)?;
        let next = (rows.len() >= scan.limit).then(|| rows.last().map(|row| row.key.clone())).flatten();
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(found) = self.store.get(AUDIT, &row.value)? else {
                return Err(Error::damaged("an index of the audit log names a record that is not there"));
            };
            records.push(audit::decode(&found.key, &found.value)?.0);
        }
        Ok((records, next))
    }
}
