//! What callers see of passkeys.

use super::record::{PasskeyAlgorithm, PasskeyRecord};
use crate::clock::Timestamp;
use crate::id::UserId;
use std::fmt;

/// Names a passkey of one user; a random number that is safe to show and to log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasskeyId(u64);

impl PasskeyId {
    /// The number behind the identifier, to keep in a table of the caller's own.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// An identifier from a number that [`get`](Self::get) returned.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Debug for PasskeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasskeyId({:016x})", self.0)
    }
}

impl fmt::Display for PasskeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "passkey {:016x}", self.0)
    }
}

/// A passkey of a user, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passkey {
    /// Whose it is.
    pub user: UserId,
    /// Names it among the user's passkeys.
    pub id: PasskeyId,
    /// What the user calls it.
    pub label: String,
    /// When it was registered.
    pub created: Timestamp,
    /// When it last opened something; `None` if it never did.
    pub last_used: Option<Timestamp>,
    /// How it signs.
    pub algorithm: PasskeyAlgorithm,
    /// Whether its authenticator says that it can be copied to other devices of the user.
    pub backup_eligible: bool,
    /// Whether its authenticator said at the last use that there is such a copy.
    pub backed_up: bool,
    /// Whether its authenticator verified the user (PIN, fingerprint) at the registration.
    pub user_verified: bool,
    /// Whether it can log in without a login name; `None` where the browser did not say.
    pub discoverable: Option<bool>,
    /// Since when it is refused, because its signature counter did not grow: it may have been copied. Remove it, and let
    /// the user register another.
    pub suspended: Option<Timestamp>,
}

impl From<PasskeyRecord> for Passkey {
    fn from(record: PasskeyRecord) -> Self {
        let PasskeyRecord {
            user,
            id,
            label,
            created,
            used,
            algorithm,
            backup_eligible,
            backed_up,
            user_verified,
            discoverable,
            suspended,
            credential: _,
            key: _,
            transports: _,
            counter: _,
            seal: _,
        } = record;
        Self {
            user,
            id: PasskeyId(id),
            label,
            created,
            last_used: used,
            algorithm,
            backup_eligible,
            backed_up,
            user_verified,
            discoverable,
            suspended,
        }
    }
}

/// A registration that was started: hand `options` to the browser, and keep `ticket` in the user's session.
#[derive(Clone)]
#[non_exhaustive]
pub struct PasskeyRegistration {
    /// JSON for `PublicKeyCredential.parseCreationOptionsFromJSON` and then `navigator.credentials.create`.
    pub options: String,
    /// What the answer is handed back with. It is good once, for this user, and until the timeout.
    pub ticket: String,
}

impl fmt::Debug for PasskeyRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyRegistration").field("options", &self.options).finish_non_exhaustive()
    }
}
