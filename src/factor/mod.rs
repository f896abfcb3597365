//! Second factors: what a user has beside a password.

mod record;
mod settings;

pub(crate) use record::{FactorRecord, Secret, TABLES};

pub use settings::TotpSettings;

use crate::assurance::Method;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ContactId, FactorId, Key, UserId};
use crate::store::{self, Scan, Store, Stored};
use std::time::Duration;

/// Most second factors of one user.
pub(crate) const MAX_FACTORS: usize = 16;
/// Most codes that are sent to one contact within an hour, and that hour.
const MAX_SENT: u8 = 10;
const SENT_WITHIN: Duration = Duration::from_secs(3600);
/// Recovery codes that are issued at a time.
pub(crate) const RECOVERY_CODES: usize = 10;

/// A second factor of a user, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Factor {
    /// Whose it is.
    pub user: UserId,
    /// Names it among the user's factors.
    pub id: FactorId,
    /// How it is used.
    pub method: Method,
    /// What the user calls it; may be empty.
    pub label: String,
    /// Where codes are sent to, if they are.
    pub contact: Option<ContactId>,
    /// How many codes are left, of recovery codes.
    pub codes_left: Option<usize>,
    /// When its enrolment began.
    pub created: Timestamp,
    /// When the user proved to have it; until then it counts for nothing.
    pub confirmed: Option<Timestamp>,
    /// When it was used last.
    pub last_used: Option<Timestamp>,
}

impl From<FactorRecord> for Factor {
    fn from(record: FactorRecord) -> Self {
        let method = record.method();
        let FactorRecord { user, id, label, secret, created, confirmed, used, sent: _ } = record;
        let (contact, codes_left) = match secret {
            Secret::Totp { .. } => (None, None),
            Secret::Recovery { digests } => (None, Some(digests.len())),
            Secret::Contact { contact, .. } => (Some(contact), None),
        };
        Self { user, id, method, label, contact, codes_left, created, confirmed, last_used: used }
    }
}

/// The user's factors, confirmed or not.
pub(crate) fn of_user(store: &dyn Store, user: UserId) -> Result<Vec<Stored<FactorRecord>>> {
    let prefix = user.bytes();
    // One more than there can be, so that a row too many would be seen.
    let scan = Scan { prefix: &prefix, limit: MAX_FACTORS + 1, ..Scan::default() };
    Ok(store::page::<FactorRecord>(store, &scan)?.0)
}

/// The same factor after one more code was sent to its contact: whoever knows a password can begin any number of logins,
/// and must not send any number of messages at the owner's cost.
pub(crate) fn with_code_sent(factor: &FactorRecord, now: Timestamp) -> Result<FactorRecord> {
    let (since, sent) = factor.sent;
    let sent = match now.since(since) < SENT_WITHIN {
        true if sent >= MAX_SENT => {
            let message = format!("{MAX_SENT} codes were sent to this contact within an hour; wait");
            return Err(Error::limit("factor", message));
        }
        true => (since, sent + 1),
        false => (now, 1),
    };
    Ok(FactorRecord { sent, ..factor.clone() })
}

/// One factor of the user.
pub(crate) fn read_factor(store: &dyn Store, user: UserId, id: FactorId) -> Result<Stored<FactorRecord>> {
    store::read(store, &(user, id))?.ok_or_else(|| Error::not_found("factor", id))
}

/// The methods of the factors that the user has confirmed, and of passkeys where there are any. Recovery codes stand in for
/// another factor: alone they are none.
pub(crate) fn methods_of(factors: &[Stored<FactorRecord>], passkeys: bool) -> Vec<Method> {
    let confirmed = factors.iter().filter(|factor| factor.record.confirmed.is_some());
    let mut methods: Vec<Method> = confirmed.map(|factor| factor.record.method()).collect();
    methods.extend(passkeys.then_some(Method::Passkey));
    methods.sort_unstable();
    methods.dedup();
    if methods == [Method::RecoveryCode] {
        methods.clear();
    }
    methods
}
