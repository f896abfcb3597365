//! How audit records are stored: bodies of the store's append-only log, with three indexes.

use super::{Actor, AuditKind, AuditRecord, Outcome, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Key, UserId};
use crate::store::{self, Append, Batch, OperationId, Table};
use crate::text;
use serde::{Deserialize, Serialize};

pub(crate) const AUDIT: Table = Table::new(20, "audit");
pub(crate) const AUDIT_BY_ACTOR: Table = Table::new(21, "audit_by_actor");
pub(crate) const AUDIT_BY_SUBJECT: Table = Table::new(22, "audit_by_subject");
pub(crate) const AUDIT_BY_KIND: Table = Table::new(23, "audit_by_kind");
pub(crate) const TABLES: &[Table] = &[AUDIT, AUDIT_BY_ACTOR, AUDIT_BY_SUBJECT, AUDIT_BY_KIND];

const FORMAT: u8 = 1;

/// An audit record before its commit: all but the sequence number, which the commit assigns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) time: Timestamp,
    pub(crate) operation: OperationId,
    pub(crate) actor: Actor,
    /// Who acted as the actor, where somebody else did.
    pub(crate) impersonator: Option<UserId>,
    pub(crate) subject: Option<Subject>,
    pub(crate) object: Option<Subject>,
    pub(crate) kind: AuditKind,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

impl Body {
    /// The keys under which the indexes find this record.
    pub(crate) fn index_keys(&self) -> Vec<(Table, Vec<u8>)> {
        let mut keys =
            vec![(AUDIT_BY_ACTOR, self.actor.bytes()), (AUDIT_BY_KIND, u16::from(self.kind).bytes())];
        // What somebody did as somebody else is found among what they did and among what the other one did.
        let behind = self.impersonator.map(Actor::User).filter(|behind| *behind != self.actor);
        keys.extend(behind.map(|behind| (AUDIT_BY_ACTOR, behind.bytes())));
        keys.extend(self.subject.map(|subject| (AUDIT_BY_SUBJECT, subject.bytes())));
        let object = self.object.filter(|object| Some(*object) != self.subject);
        keys.extend(object.map(|object| (AUDIT_BY_SUBJECT, object.bytes())));
        keys
    }
}

/// Stages the record of a change into the batch of that change.
pub(crate) fn stage(batch: &mut Batch, mut body: Body) -> Result<()> {
    // Details are built from names that were validated; a long one is cut rather than let it stop the change.
    if body.detail.len() > text::MAX_TEXT {
        let mut end = text::MAX_TEXT - '…'.len_utf8();
        while !body.detail.is_char_boundary(end) {
            end -= 1;
        }
        body.detail.truncate(end);
        body.detail.push('…');
    }
    text::plain("audit.detail", &body.detail, text::MAX_TEXT)?;
    let indexes = body.index_keys();
    batch.append(Append { log: AUDIT, body: store::encode_value(AUDIT.name, FORMAT, &body)?, indexes });
    Ok(())
}

/// The record in a row of the log.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(AuditRecord, Body)> {
    let sequence =
        u64::read(key).map_err(|_| Error::damaged("a sequence number of the audit log is not 8 bytes"))?;
    let body: Body = store::decode_value(AUDIT.name, FORMAT, value)?;
    let Body { time, operation, actor, impersonator, subject, object, kind, outcome, detail } = body.clone();
    let record = AuditRecord {
        sequence,
        time,
        operation,
        actor,
        impersonator,
        subject,
        object,
        kind,
        outcome,
        detail,
    };
    Ok((record, body))
}
