//! Logins that are not complete: what was proved, and what is still asked for.

use crate::assurance::{Assurance, Method, Methods};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::Key;
use crate::id::{FactorId, RoleId, SessionId, UserId};
use crate::store::{self, Batch, Index, Record, Scan, Store, Stored, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const CHALLENGE: Table = Table::new(85, "challenge");
pub(crate) const CHALLENGE_BY_USER: Table = Table::new(86, "challenge_by_user");
pub(crate) const CHALLENGE_BY_EXPIRY: Table = Table::new(87, "challenge_by_expiry");
pub(crate) const TABLES: &[Table] = &[CHALLENGE, CHALLENGE_BY_USER, CHALLENGE_BY_EXPIRY];

/// Most logins of one user that can be under way at a time; another one takes the place of the oldest.
const MAX_OF_USER: usize = 8;

/// Wrong answers after which a login is given up.
pub(crate) const MAX_FAILURES: u8 = 5;
/// Codes that are sent in one login at most.
pub(crate) const MAX_SENT: u8 = 5;

/// What the next step must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Factor,
    NewPassword,
}

/// A login under way. Whoever presents its token has proved what `methods` says, and nothing more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChallengeRecord {
    pub(crate) id: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) user: UserId,
    /// The user's generation when the login began: whatever ends all sessions ends logins under way.
    pub(crate) generation: u32,
    /// The revision of the password that was verified.
    pub(crate) revision: Option<u32>,
    pub(crate) methods: Methods,
    pub(crate) step: Step,
    /// What the login must come to.
    pub(crate) demanded: Assurance,
    /// The roles that are to be active, or all.
    pub(crate) roles: Option<Vec<RoleId>>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    /// Wrong answers so far; whatever is sent anew does not take them away (NIST SP 800-63B-4, section 3.1.3.2).
    pub(crate) failures: u8,
    pub(crate) sent: u8,
    pub(crate) code: Option<SentCode>,
    /// What was kept of the passkey that was asked for.
    pub(crate) assertion: Option<Vec<u8>>,
    /// The factor that the user enrols in this login, having had none.
    pub(crate) enrolling: Option<FactorId>,
    /// The session that the new one is to take the place of.
    pub(crate) replaces: Option<SessionId>,
    /// The era of sessions when the login began: it is over once another one has begun.
    pub(crate) era: u16,
}

/// A code that was sent to the user, for this login and no other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentCode {
    pub(crate) factor: FactorId,
    /// A code has too few bits for a plain hash, so it is kept as a password is.
    pub(crate) phc: String,
    pub(crate) expires: Timestamp,
}

impl ChallengeRecord {
    /// Whether a second step by this method would get the login to where it must come.
    pub(crate) fn wants(&self, method: Method) -> bool {
        self.methods.with(method).assurance() >= self.demanded
    }
}

impl fmt::Debug for ChallengeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeRecord")
            .field("user", &self.user)
            .field("methods", &self.methods)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl Record for ChallengeRecord {
    const TABLE: Table = CHALLENGE;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(CHALLENGE_BY_USER, |challenge, keys| {
            keys.add(&(challenge.user, challenge.created.as_millis()));
        }),
        Index::many(CHALLENGE_BY_EXPIRY, |challenge, keys| keys.add(&challenge.expires.as_millis())),
    ];
    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }
}

/// Stages a login under way, and the end of the user's oldest where there are too many.
pub(crate) fn stage_challenge(store: &dyn Store, batch: &mut Batch, new: &ChallengeRecord) -> Result<()> {
    let prefix = new.user.bytes();
    let scan = Scan { prefix: &prefix, limit: MAX_OF_USER, ..Scan::default() };
    let (others, _) = store::page_by::<ChallengeRecord>(store, CHALLENGE_BY_USER, &scan)?;
    if others.len() >= MAX_OF_USER
        && let Some(oldest) = others.first()
    {
        batch.remove(oldest);
    }
    batch.insert(new)
}

/// Some of the user's logins under way.
pub(crate) fn of_user(store: &dyn Store, user: UserId, limit: usize) -> Result<Vec<Stored<ChallengeRecord>>> {
    let prefix = user.bytes();
    let scan = Scan { prefix: &prefix, limit, ..Scan::default() };
    Ok(store::page_by::<ChallengeRecord>(store, CHALLENGE_BY_USER, &scan)?.0)
}
