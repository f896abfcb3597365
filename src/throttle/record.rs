//! How failures are stored.

use super::row::Entry;
use crate::assurance::{Method, Methods};
use crate::clock::Timestamp;
use crate::id::{DeviceId, UserId};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const THROTTLE_ACCOUNT: Table = Table::new(76, "throttle_account");
pub(crate) const THROTTLE_COUNT: Table = Table::new(77, "throttle_count");
pub(crate) const THROTTLE_SOURCE: Table = Table::new(78, "throttle_source");
pub(crate) const THROTTLE_KEY: Table = Table::new(79, "throttle_key");
pub(crate) const TABLES: &[Table] = &[THROTTLE_ACCOUNT, THROTTLE_COUNT, THROTTLE_SOURCE, THROTTLE_KEY];

/// Whose failures a row of an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Party {
    /// Whoever comes from anywhere.
    Stranger,
    /// Whoever has a session of the user.
    Session,
    /// Whoever has the token of a device of the user.
    Device(DeviceId),
}

impl Party {
    fn number(self) -> (u8, u64) {
        match self {
            Self::Stranger => (0, 0),
            Self::Session => (1, 0),
            Self::Device(device) => (2, device.get()),
        }
    }
}

/// How often in a row somebody was wrong with one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    /// One.
    pub(crate) method: Methods,
    pub(crate) failures: u32,
    pub(crate) last: Timestamp,
    /// Whether the audit log has that attempts are refused since.
    pub(crate) told: bool,
}

/// Exact counts for one account: those of the stop, and the delays of whoever is known already. A row goes with its last
/// counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    pub(crate) user: UserId,
    pub(crate) party: Party,
    pub(crate) counters: Vec<Counter>,
}

impl AccountRecord {
    pub(crate) fn key_of(user: UserId, party: Party) -> (UserId, (u8, u64)) {
        (user, party.number())
    }

    pub(crate) fn counter(&self, method: Method) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.method == Methods::of(method))
    }

    /// The same with another counter, or none, for a method.
    pub(crate) fn with(&self, method: Method, counter: Option<Counter>) -> Self {
        let others = self.counters.iter().filter(|other| other.method != Methods::of(method)).cloned();
        let mut counters: Vec<Counter> = others.chain(counter).collect();
        counters.sort_by_key(|counter| counter.method.iter().next());
        Self { counters, ..*self }
    }
}

impl Record for AccountRecord {
    const TABLE: Table = THROTTLE_ACCOUNT;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, (u8, u64));

    fn key(&self) -> Self::Key {
        Self::key_of(self.user, self.party)
    }
}

/// What a row of counts is for.
pub(crate) const COUNT_NAMES: u8 = 0;
pub(crate) const COUNT_PAIRS: u8 = 1;

/// How often in a row somebody was wrong at a login name, or at a name from an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) tag: u32,
    pub(crate) failures: u32,
    pub(crate) last: Timestamp,
    /// Whether the audit log has that attempts are refused since.
    pub(crate) told: bool,
}

impl Entry for Counted {
    const TABLE: Table = THROTTLE_COUNT;

    fn tag(&self) -> u32 {
        self.tag
    }

    fn weight(&self) -> (u32, u64) {
        (self.failures, self.last.as_millis())
    }
}

/// How often somebody was wrong from an address, and at how many names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceCount {
    pub(crate) tag: u32,
    /// See [`Pace`](super::Pace).
    pub(crate) filled: Timestamp,
    /// One bit of 64 for each name, by its hash, since then.
    pub(crate) names: u64,
    pub(crate) since: Timestamp,
    /// Whether these were so many that it is taken to try stolen passwords.
    pub(crate) stuffing: bool,
    /// Whether the audit log has that attempts are refused since the last failure.
    pub(crate) told: bool,
}

impl Entry for SourceCount {
    const TABLE: Table = THROTTLE_SOURCE;

    fn tag(&self) -> u32 {
        self.tag
    }

    fn weight(&self) -> (u32, u64) {
        (0, self.filled.as_millis())
    }
}

/// The key of the hashes by which names and addresses are found: without it nobody can tell which of them share a row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) key: [u8; 32],
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRecord")
    }
}

impl Record for KeyRecord {
    const TABLE: Table = THROTTLE_KEY;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}
