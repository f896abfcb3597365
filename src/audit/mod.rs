//! The audit log: what happened, when, by whom, to whom, and how it ended.

mod kind;
mod record;

pub use kind::AuditKind;
pub(crate) use record::{
    AUDIT, AUDIT_BY_ACTOR, AUDIT_BY_KIND, AUDIT_BY_SUBJECT, Body, TABLES, decode, stage,
};

use crate::clock::Timestamp;
use crate::id::{ApiKeyId, Flag, Key, RoleId, ScopeId, SeparationId, SessionId, UserId};
use crate::permission::Permission;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its place in the log, from 0 without a gap: the order in which changes were committed.
    pub sequence: u64,
    /// When the change was planned, in UTC. Sequence, not time, is the order: two changes of one millisecond may
    /// have been committed the other way round.
    pub time: Timestamp,
    /// Names the operation, also where its outcome was reported as unknown.
    pub operation: u128,
    /// Who did it.
    pub actor: Actor,
    /// Who acted as the actor, where somebody else did.
    pub impersonator: Option<UserId>,
    /// To whom or what.
    pub subject: Option<Subject>,
    /// What else took part: the role of an assignment, the session of a login.
    pub object: Option<Subject>,
    /// What was done.
    pub kind: AuditKind,
    /// How it ended.
    pub outcome: Outcome,
    /// For people: names and reasons, never a secret; at most 512 bytes and no control characters.
    pub detail: String,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Actor {
    /// The application that links portcullis, or portcullis itself.
    System,
    /// Somebody who was not authenticated (yet).
    Anonymous,
    /// A user.
    User(UserId),
}

/// To whom or what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A role.
    Role(RoleId),
    /// A permission.
    Permission(Permission),
    /// A session.
    Session(SessionId),
    /// A scope.
    Scope(ScopeId),
    /// A set of roles that are kept apart.
    Separation(SeparationId),
    /// A feature flag.
    Flag(Flag),
    /// An API key.
    ApiKey(ApiKeyId),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
}

macro_rules! tagged_key {
    ($name:ident: $($tag:literal = $pattern:pat => $number:expr),* $(,)?) => {
        impl Key for $name {
            fn write(&self, out: &mut Vec<u8>) {
                let (tag, number): (u8, u64) = match *self { $($pattern => ($tag, $number)),* };
                tag.write(out);
                number.write(out);
            }
            fn read(_: &[u8]) -> crate::error::Result<Self> {
                Err(crate::error::Error::damaged(concat!(stringify!($name), " keys lead to records and are not read")))
            }
        }
    };
}
tagged_key!(Actor: 0 = Self::System => 0, 1 = Self::Anonymous => 0, 2 = Self::User(id) => id.get());
tagged_key!(Subject:
    0 = Self::User(id) => id.get(),
    1 = Self::Role(id) => u64::from(id.get()),
    2 = Self::Permission(permission) => u64::from(permission.bit()),
    3 = Self::Session(id) => id.get(),
    4 = Self::Scope(id) => u64::from(id.get()),
    5 = Self::Separation(id) => u64::from(id.get()),
    8 = Self::Flag(flag) => u64::from(flag.get()),
    9 = Self::ApiKey(id) => id.get(),
);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Role(id) => id.fmt(f),
            Self::Permission(permission) => permission.fmt(f),
            Self::Session(id) => id.fmt(f),
            Self::Scope(id) => id.fmt(f),
            Self::Separation(id) => id.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::ApiKey(id) => id.fmt(f),
        }
    }
}

/// One line: sequence, time, actor, kind, subject, object, outcome, detail. Who acted as the actor stands before it, as in
/// `user 1 as user 2`.
impl fmt::Display for AuditRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} ", self.sequence, self.time)?;
        if let Some(behind) = self.impersonator {
            write!(f, "{behind} as ")?;
        }
        write!(f, "{} {}", self.actor, self.kind)?;
        for subject in self.subject.iter().chain(&self.object) {
            write!(f, " {subject}")?;
        }
        let outcome = match self.outcome {
            Outcome::Success => "success",
            Outcome::Denied => "denied",
        };
        write!(f, " {outcome}")?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}
