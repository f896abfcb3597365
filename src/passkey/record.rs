//! How passkeys are stored, and what a ceremony leaves behind while it is open.
//!
//! This is compiled with and without the feature `passkeys`, so that a database is swept and verified whole by either.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Key, UserId};
#[cfg(feature = "passkeys")]
use crate::store::{self, Scan, Store, Stored};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};

pub(crate) const PASSKEY: Table = Table::new(96, "passkey");
pub(crate) const PASSKEY_BY_CREDENTIAL: Table = Table::new(97, "passkey_by_credential");
pub(crate) const PASSKEY_STATE: Table = Table::new(98, "passkey_state");
pub(crate) const TABLES: &[Table] = &[PASSKEY, PASSKEY_BY_CREDENTIAL, PASSKEY_STATE];

/// Most passkeys of one user.
#[cfg(feature = "passkeys")]
pub(crate) const MAX_PASSKEYS: usize = 16;
/// Bytes of a challenge: the standard asks for 16 at least (W3C Web Authentication Level 3, section 13.4.3).
pub(crate) const CHALLENGE: usize = 16;

/// The signature algorithm of a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(not(feature = "passkeys"), expect(unreachable_pub, reason = "exported with the feature"))]
#[non_exhaustive]
pub enum PasskeyAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256, which nearly every authenticator uses.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// RSA, PKCS #1 version 1.5, with SHA-256.
    Rs256,
}

/// A credential of an authenticator: its public half.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PasskeyRecord {
    pub(crate) user: UserId,
    /// Names it in the interface; random, so that it tells nothing.
    pub(crate) id: u64,
    /// The credential id that the authenticator gave, at most 1,023 bytes.
    pub(crate) credential: Vec<u8>,
    /// The public key, with the extensions that matter later, as the crate of the ceremonies writes it.
    pub(crate) key: Vec<u8>,
    pub(crate) algorithm: PasskeyAlgorithm,
    /// A bit for each way to reach the authenticator: hints for the browser.
    pub(crate) transports: u8,
    /// The authenticator's signature counter at its last use; 0 for one that does not count.
    pub(crate) counter: u32,
    pub(crate) backup_eligible: bool,
    pub(crate) backed_up: bool,
    /// Whether the authenticator verified its user at the registration.
    pub(crate) user_verified: bool,
    pub(crate) discoverable: Option<bool>,
    pub(crate) label: String,
    pub(crate) created: Timestamp,
    pub(crate) used: Option<Timestamp>,
    /// Since when it is refused because its counter did not grow.
    pub(crate) suspended: Option<Timestamp>,
    /// Over everything above: see [`Secret::seal`](super::Secret::seal).
    pub(crate) seal: [u8; 32],
}

impl Record for PasskeyRecord {
    const TABLE: Table = PASSKEY;
    /// A credential belongs to one user, which the commit of its registration decides.
    const INDEXES: &'static [Index<Self>] = &[Index::unique(PASSKEY_BY_CREDENTIAL, |passkey, keys| {
        keys.add_raw(credential_key(&passkey.credential));
    })];
    type Key = (UserId, u64);

    fn key(&self) -> Self::Key {
        (self.user, self.id)
    }
}

/// The key under which the index finds a credential.
pub(crate) fn credential_key(credential: &[u8]) -> Vec<u8> {
    blake3::hash(credential).as_bytes().to_vec()
}

/// What passkeys need beside themselves.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PasskeyState {
    /// Random bytes, made once, from which the keys for seals, user handles and tickets are derived.
    Secret([u8; 32]),
    /// The challenge of a login that was answered: it is kept until it would have expired, and not taken again.
    Spent { expires: Timestamp, challenge: [u8; CHALLENGE] },
    /// A registration that was started. A user has one at most, so that they are bounded; the next takes its place.
    Open(OpenRegistration),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenRegistration {
    pub(crate) user: UserId,
    /// BLAKE3 of the ticket.
    pub(crate) ticket: [u8; 32],
    pub(crate) challenge: [u8; CHALLENGE],
    /// Of the user when it was started: a registration does not outlive the sessions.
    pub(crate) generation: u32,
    pub(crate) expires: Timestamp,
}

/// Where a [`PasskeyState`] stands: the secret, spent challenges by the instant at which they expire, registrations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateKey {
    Secret,
    Spent(u64, [u8; CHALLENGE]),
    Open(UserId),
}

impl StateKey {
    const SECRET: u8 = 0;
    pub(crate) const SPENT: u8 = 1;
    pub(crate) const OPEN: u8 = 2;
}

impl Key for StateKey {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Secret => Self::SECRET.write(out),
            Self::Spent(expires, challenge) => {
                (Self::SPENT, *expires).write(out);
                out.extend_from_slice(challenge);
            }
            Self::Open(user) => (Self::OPEN, *user).write(out),
        }
    }

    fn read(_: &[u8]) -> Result<Self> {
        Err(Error::damaged("keys of passkey states lead to records and are not read"))
    }
}

impl Record for PasskeyState {
    const TABLE: Table = PASSKEY_STATE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = StateKey;

    fn key(&self) -> StateKey {
        match self {
            Self::Secret(_) => StateKey::Secret,
            Self::Spent { expires, challenge } => StateKey::Spent(expires.as_millis(), *challenge),
            Self::Open(open) => StateKey::Open(open.user),
        }
    }
}

impl PasskeyState {
    /// When it ends by itself.
    pub(crate) const fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Secret(_) => None,
            Self::Spent { expires, .. } => Some(*expires),
            Self::Open(open) => Some(open.expires),
        }
    }
}

/// The passkeys of a user, in the order of their keys; there are [`MAX_PASSKEYS`] at most.
#[cfg(feature = "passkeys")]
pub(crate) fn passkeys_of(store: &dyn Store, user: UserId) -> Result<Vec<Stored<PasskeyRecord>>> {
    let prefix = user.bytes();
    let scan = Scan { prefix: &prefix, limit: MAX_PASSKEYS + 1, ..Scan::default() };
    Ok(store::page::<PasskeyRecord>(store, &scan)?.0)
}
