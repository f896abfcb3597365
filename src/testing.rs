//! Hooks for whoever examines portcullis or tests an application that links it. Behind the feature `testing`; a
//! release build of an application leaves it off.

use crate::Portcullis;
use crate::clock::{Clock, Timestamp};
use crate::crypto::{ApiKeyToken, Token};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RoleId, ScopeId, UserId};
use crate::permission::PermissionSet;
use crate::secret::Entropy;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use crate::store::{FaultPoint, Faults};

/// The two halves of a passkey assertion by themselves, without a login around them: what a refusal commits (a suspended
/// passkey) and writes into the audit log is the same.
#[cfg(feature = "passkeys")]
pub mod passkeys {
    use crate::Portcullis;
    use crate::engine;
    use crate::error::Result;
    use crate::id::UserId;
    use crate::passkey::PasskeyId;

    /// Who proved to hold a passkey, which one, and whether the authenticator verified the user.
    pub type Proof = (UserId, PasskeyId, bool);

    /// Options for the browser and the state to keep, for a user who is known; `None` without a passkey.
    ///
    /// # Errors
    /// `InvalidInput` without a relying party; the storage kinds.
    pub fn start_assertion(gate: &Portcullis, user: UserId) -> Result<Option<(String, Vec<u8>)>> {
        engine::probe_start_assertion(gate, user)
    }

    /// Believes an assertion, or not. The caller is to use the state once; the counter is all that is checked here.
    ///
    /// # Errors
    /// `Denied` with the reason in the audit log; `InvalidInput` for an answer that is too long; the storage kinds.
    pub fn finish_assertion(gate: &Portcullis, state: &[u8], response: &str) -> Result<Proof> {
        engine::probe_assertion(gate, state, response)
            .map(|proof| (proof.user, proof.passkey, proof.user_verified))
    }

    /// Options for the browser and a ticket, for whoever is there.
    ///
    /// # Errors
    /// `InvalidInput` without a relying party; the storage kinds.
    pub fn start_login(gate: &Portcullis) -> Result<(String, String)> {
        engine::probe_start_login(gate)
    }

    /// Believes an assertion once, or not.
    ///
    /// # Errors
    /// As [`finish_assertion`].
    pub fn finish_login(gate: &Portcullis, ticket: &str, response: &str) -> Result<Proof> {
        engine::probe_login(gate, ticket, response)
            .map(|proof| (proof.user, proof.passkey, proof.user_verified))
    }
}

/// A clock that stands still until it is moved; clones share one time.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::testing::ManualClock;
/// use portcullis::{Client, Credentials, NewUser, Portcullis};
/// use std::time::Duration;
/// let clock = ManualClock::new();
/// let gate = Portcullis::builder().clock(clock.clone()).danger_fast_password_hashes().in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
/// clock.advance(Duration::from_secs(3600)); // the idle limit
/// assert!(gate.authenticate(login.token()).is_err_and(|e| e.is_denied()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600_000)))
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Jumps, also back.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Random bytes that a seed determines, through BLAKE3; it can be told to fail. Never for production.
#[derive(Clone, Debug)]
pub struct SeededEntropy(Arc<Mutex<Seeded>>);

#[derive(Debug)]
struct Seeded {
    seed: u64,
    drawn: u64,
    broken: bool,
}

impl SeededEntropy {
    /// A generator whose output the seed determines.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Seeded { seed, drawn: 0, broken: false })))
    }

    /// From now on the generator fails, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.0.lock().broken = broken;
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let mut state = self.0.lock();
        if state.broken {
            return Err(Error::new(ErrorKind::Storage, "the random generator was told to fail"));
        }
        state.drawn += 1;
        let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026 seeded entropy for tests");
        hasher.update(&state.seed.to_le_bytes()).update(&state.drawn.to_le_bytes());
        hasher.finalize_xof().fill(buffer);
        Ok(())
    }
}

/// Creates that many users named `prefix0`, `prefix1`, ..., each with one of the roles in turn, as fast as the store
/// takes them and without audit records: for benches that need a million.
///
/// # Errors
/// As [`Users::create`](crate::Users::create).
pub fn populate_users(
    gate: &Portcullis,
    prefix: &str,
    count: usize,
    roles: &[RoleId],
) -> Result<Vec<UserId>> {
    crate::engine::populate_users(gate, prefix, count, roles)
}

/// Opens a session for each of the users with no password asked, and without audit records: for benches that need a
/// million.
///
/// # Errors
/// `NotFound` for a user that does not exist; the storage kinds.
pub fn populate_sessions(gate: &Portcullis, users: &[UserId]) -> Result<Vec<Token>> {
    crate::engine::populate_sessions(gate, users)
}

/// Makes an API key without an end for each of the users, for these permissions or all, and without audit records: for
/// benches that need a million. The number of keys that a user can have is not looked at.
///
/// # Errors
/// The storage kinds.
pub fn populate_api_keys(
    gate: &Portcullis,
    users: &[UserId],
    permissions: Option<&PermissionSet>,
) -> Result<Vec<ApiKeyToken>> {
    crate::engine::populate_api_keys(gate, users, permissions)
}

/// Assigns roles to users at scopes, many to a commit and without audit records: for benches. None of them may exist
/// already.
///
/// # Errors
/// The storage kinds; `AlreadyExists`.
pub fn populate_assignments(gate: &Portcullis, held: &[(UserId, RoleId, ScopeId)]) -> Result<()> {
    crate::engine::populate_assignments(gate, held)
}

/// The part of a login that hashes, by itself: waits at the admission gate and computes the hash of a user whom nobody
/// knows. For benches and for tests of memory.
///
/// # Errors
/// As [`Portcullis::login`], without those of the store.
pub fn hash_for_nobody(gate: &Portcullis, password: &str) -> Result<()> {
    crate::engine::hash_for_nobody(gate, password)
}

/// Counts one failed login at each of that many names, `prefix0`, `prefix1`, ..., each from an address of its own, without
/// audit records and in the place of what was counted before: for benches that need millions.
///
/// # Errors
/// The storage kinds.
pub fn populate_failures(gate: &Portcullis, prefix: &str, count: u32) -> Result<()> {
    crate::engine::populate_failures(gate, prefix, count)
}

/// Feeds bytes to the decoder of every stored record. For fuzzing: whatever the bytes are, each decoder answers with
/// a record or an error. Returns how many of them took the bytes for a record of theirs.
#[must_use]
pub fn decode_as_every_record(bytes: &[u8]) -> usize {
    crate::engine::decode_as_every_record(bytes)
}

/// One row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRow {
    /// The table's name on the disk.
    pub table: &'static str,
    /// Sorts as what it stands for does.
    pub key: Vec<u8>,
    /// A record, or in an index the key that it leads to.
    pub value: Vec<u8>,
}

/// Writes a row as it is given, past every rule and check: what somebody could do who edits the files. The read model is
/// told, as of any commit.
///
/// # Errors
/// `NotFound` for a table that there is not; the storage kinds.
pub fn danger_put(gate: &Portcullis, row: &StoredRow) -> Result<()> {
    danger_put_all(gate, std::slice::from_ref(row))
}

/// As [`danger_put`], several rows in one commit: what the store alone takes for them, beside which a bench can put what an
/// operation takes that writes the same bytes.
///
/// # Errors
/// As [`danger_put`].
pub fn danger_put_all(gate: &Portcullis, rows: &[StoredRow]) -> Result<()> {
    let rows = rows.iter().map(|row| (row.table, row.key.as_slice(), row.value.as_slice()));
    crate::engine::put_rows(gate, rows)
}

/// Every row of every table, in the order of the tables and their keys: what a test of the stored format compares.
/// It holds password hashes and session digests.
///
/// # Errors
/// The storage kinds.
pub fn dump(gate: &Portcullis) -> Result<Vec<StoredRow>> {
    let rows = crate::engine::dump(gate)?;
    Ok(rows.into_iter().map(|(table, key, value)| StoredRow { table, key, value }).collect())
}

/// The code that an authenticator app shows at an instant, from the seed that
/// [`TotpEnrolment::secret`](crate::TotpEnrolment::secret) gave it.
///
/// # Errors
/// `InvalidInput` for what is no seed.
pub fn totp_code(secret: &str, now: Timestamp) -> Result<String> {
    crate::engine::totp_code(secret, now)
}
