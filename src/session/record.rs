//! How sessions are stored: never the token, only its digest.

use super::{Client, Family, Impersonator, Session};
use crate::assurance::Methods;
use crate::clock::Timestamp;
use crate::id::{DeviceId, RoleId, SessionId, UserId};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub(crate) const SESSION: Table = Table::new(17, "session");
pub(crate) const SESSION_BY_USER: Table = Table::new(18, "session_by_user");
pub(crate) const SESSION_BY_EXPIRY: Table = Table::new(19, "session_by_expiry");
pub(crate) const SESSION_ERA: Table = Table::new(84, "session_era");
pub(crate) const TABLES: &[Table] = &[SESSION, SESSION_BY_USER, SESSION_BY_EXPIRY, SESSION_ERA];

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) digest: [u8; 32],
    /// The user's generation when the session began; the session is dead once the user has a later one.
    pub(crate) generation: u32,
    pub(crate) created: Timestamp,
    pub(crate) seen: Timestamp,
    /// Seconds; zero is no idle limit.
    pub(crate) idle_secs: u32,
    pub(crate) expires: Timestamp,
    pub(crate) device: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: String,
    /// The roles that are active, in rising order, each once; all that the user has where none is named.
    pub(crate) roles: Option<Vec<RoleId>>,
    /// How its user proved who they are, and when last.
    pub(crate) methods: Methods,
    pub(crate) authenticated: Timestamp,
    /// When two factors were proved the last time, where they were.
    pub(crate) elevated: Option<Timestamp>,
    /// The device that it was opened on.
    pub(crate) device_id: Option<DeviceId>,
    /// The era when it began; it is dead once a later one has.
    pub(crate) era: u16,
    /// What its user calls it, perhaps empty.
    pub(crate) label: String,
    /// Who acts in it as its user, where somebody else does.
    pub(crate) impersonator: Option<Impersonator>,
    /// What it keeps of its refresh tokens, where it can be refreshed.
    pub(crate) family: Option<Family>,
}

/// The era of all sessions: ending every one is to begin the next. One row, written by that alone and expected unchanged by
/// whoever opens a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionEraRecord {
    pub(crate) era: u16,
}

impl Record for SessionEraRecord {
    const TABLE: Table = SESSION_ERA;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("id", &self.id)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Record for SessionRecord {
    const TABLE: Table = SESSION;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(SESSION_BY_USER, |session, keys| keys.add(&session.user)),
        Index::many(SESSION_BY_EXPIRY, |session, keys| keys.add(&session.expires.as_millis())),
    ];
    type Key = SessionId;

    fn key(&self) -> SessionId {
        self.id
    }
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        let SessionRecord {
            id,
            user,
            created,
            seen,
            idle_secs,
            expires,
            device,
            ip,
            user_agent,
            roles,
            methods,
            authenticated,
            elevated,
            device_id,
            label,
            impersonator,
            family,
            digest: _,
            generation: _,
            era: _,
        } = record;
        Self {
            id,
            user,
            created,
            last_seen: seen,
            idle_timeout: (idle_secs > 0).then(|| Duration::from_secs(u64::from(idle_secs))),
            expires,
            client: Client { device, ip, user_agent, refreshable: family.is_some(), ..Client::default() },
            selected: roles,
            methods,
            authenticated,
            elevated,
            device: device_id,
            label,
            impersonator,
            access_until: family.map(|family| family.access_until.min(expires)),
        }
    }
}
