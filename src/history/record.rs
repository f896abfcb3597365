//! How the history is stored.

use super::{KnownNetwork, LoginOutcome, PastLogin};
use crate::assurance::Methods;
use crate::clock::Timestamp;
use crate::id::{DeviceId, SessionId, UserId};
use crate::network::{Network, Prefixes};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

pub(crate) const LOGIN_HISTORY: Table = Table::new(81, "login_history");
pub(crate) const LOGIN_HISTORY_BY_DAY: Table = Table::new(82, "login_history_by_day");
pub(crate) const LOGIN_NETWORK: Table = Table::new(83, "login_network");
pub(crate) const TABLES: &[Table] = &[LOGIN_HISTORY, LOGIN_HISTORY_BY_DAY, LOGIN_NETWORK];

/// Which entries share a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Sort {
    Success,
    /// Somebody who may have known nothing.
    Refused,
    /// Somebody who knew the password, or held another first factor.
    Step,
}

impl Sort {
    pub(crate) const ALL: [Self; 3] = [Self::Success, Self::Refused, Self::Step];
}

/// An entry. The entries of one user and sort are numbered as they come, so that the next number is read off
/// the newest, and two logins at once can not both take it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginRecord {
    pub(crate) user: UserId,
    pub(crate) sort: Sort,
    pub(crate) number: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) outcome: LoginOutcome,
    pub(crate) methods: Methods,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) device_name: String,
    pub(crate) user_agent: String,
    pub(crate) session: Option<SessionId>,
    /// Of a success: the number that the next refused attempt gets at least.
    pub(crate) refused: u64,
    /// Whether only the time is left, of the last success of somebody who has not come for long.
    pub(crate) bare: bool,
}

impl fmt::Debug for LoginRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRecord")
            .field("user", &self.user)
            .field("outcome", &self.outcome)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The day of an instant, counted from 1970-01-01.
pub(crate) fn day_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_secs() / 86_400).unwrap_or(u32::MAX)
}

impl Record for LoginRecord {
    const TABLE: Table = LOGIN_HISTORY;
    const INDEXES: &'static [Index<Self>] = &[Index::many(LOGIN_HISTORY_BY_DAY, |login, keys| {
        if !login.bare {
            keys.add(&day_of(login.last));
        }
    })];
    type Key = ((UserId, u8), u64);

    fn key(&self) -> Self::Key {
        ((self.user, self.sort as u8), self.number)
    }
}

impl LoginRecord {
    pub(crate) fn public(self, prefixes: Prefixes) -> PastLogin {
        PastLogin {
            user: self.user,
            time: self.first,
            until: self.last,
            attempts: self.attempts,
            outcome: self.outcome,
            methods: self.methods,
            source: self.ip,
            network: self.ip.map(|ip| Network::of(ip, prefixes)),
            device: self.device,
            device_name: self.device_name,
            user_agent: self.user_agent,
            session: self.session,
        }
    }
}

/// A network of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) user: UserId,
    pub(crate) network: Network,
    pub(crate) created: Timestamp,
    pub(crate) seen: Timestamp,
}

impl Record for NetworkRecord {
    const TABLE: Table = LOGIN_NETWORK;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, Network);

    fn key(&self) -> Self::Key {
        (self.user, self.network)
    }
}

impl From<NetworkRecord> for KnownNetwork {
    fn from(record: NetworkRecord) -> Self {
        let NetworkRecord { network, created, seen, user: _ } = record;
        Self { network, first_seen: created, last_seen: seen }
    }
}
