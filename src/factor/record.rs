//! How second factors are stored: seeds sealed, codes as digests.

use crate::assurance::Method;
use crate::clock::Timestamp;
use crate::crypto::TotpAlgorithm;
use crate::id::{ContactId, FactorId, UserId};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const FACTOR: Table = Table::new(89, "factor");
pub(crate) const TABLES: &[Table] = &[FACTOR];

/// What a factor is checked against.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Secret {
    Totp {
        algorithm: TotpAlgorithm,
        /// The seed, sealed with a key that is not in the database.
        sealed: Vec<u8>,
        /// The latest step whose code was accepted: none up to it is accepted again (RFC 6238, section 5.2).
        spent: u64,
    },
    Recovery {
        /// Of the codes that are left.
        digests: Vec<[u8; 32]>,
    },
    /// Codes are sent there; they are kept with the login that asked for them.
    Contact { contact: ContactId, by_phone: bool },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FactorRecord {
    pub(crate) user: UserId,
    pub(crate) id: FactorId,
    pub(crate) label: String,
    pub(crate) secret: Secret,
    pub(crate) created: Timestamp,
    pub(crate) confirmed: Option<Timestamp>,
    pub(crate) used: Option<Timestamp>,
    /// Of a contact: since when codes are counted, and how many were sent since.
    pub(crate) sent: (Timestamp, u8),
}

impl FactorRecord {
    pub(crate) fn method(&self) -> Method {
        match self.secret {
            Secret::Totp { .. } => Method::Totp,
            Secret::Recovery { .. } => Method::RecoveryCode,
            Secret::Contact { by_phone: false, .. } => Method::EmailCode,
            Secret::Contact { by_phone: true, .. } => Method::SmsCode,
        }
    }
}

impl fmt::Debug for FactorRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactorRecord")
            .field("user", &self.user)
            .field("id", &self.id)
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}

impl Record for FactorRecord {
    const TABLE: Table = FACTOR;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, FactorId);

    fn key(&self) -> Self::Key {
        (self.user, self.id)
    }
}
