//! How keys are stored: never the token, only its digest.

use super::{ApiKey, Limits, RateLimit};
use crate::clock::Timestamp;
use crate::id::{ApiKeyId, ScopeId, UserId};
use crate::permission::Permission;
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(crate) const API_KEY: Table = Table::new(99, "api_key");
pub(crate) const API_KEY_BY_OWNER: Table = Table::new(100, "api_key_by_owner");
pub(crate) const API_KEY_BY_END: Table = Table::new(101, "api_key_by_end");
pub(crate) const API_KEY_TURN: Table = Table::new(102, "api_key_turn");
pub(crate) const TABLES: &[Table] = &[API_KEY, API_KEY_BY_OWNER, API_KEY_BY_END, API_KEY_TURN];

/// Permissions that a key can name, so that its row stays small: five bytes each at most.
pub(crate) const MOST_NAMED: usize = 256;
pub(super) const MOST_SCOPES: usize = 32;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiKeyRecord {
    pub(crate) id: ApiKeyId,
    pub(crate) owner: UserId,
    pub(crate) digest: [u8; 32],
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) created_by: Option<UserId>,
    pub(crate) expires: Option<Timestamp>,
    /// How long it was to live when it was made, which the key that replaces it gets anew.
    pub(crate) life_secs: Option<u32>,
    /// Seconds; zero is no idle limit.
    pub(crate) idle_secs: u32,
    pub(crate) used: Option<Timestamp>,
    /// In rising order, each once.
    pub(crate) permissions: Option<Vec<Permission>>,
    pub(crate) scopes: Option<Vec<ScopeId>>,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) replaced_by: Option<ApiKeyId>,
}

impl ApiKeyRecord {
    /// Since when it goes idle.
    pub(crate) fn idle_since(&self) -> Timestamp {
        self.used.unwrap_or(self.created)
    }

    /// When it ends if it is not used any more; `None` for never.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        let idle = (self.idle_secs > 0)
            .then(|| self.idle_since().saturating_add(Duration::from_secs(self.idle_secs.into())));
        self.expires.into_iter().chain(idle).min()
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            permissions: self.permissions.as_ref().map(|list| list.iter().copied().collect()),
            scopes: self.scopes.clone(),
            rate: self.rate,
        }
    }

    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        let Limits { permissions, scopes, rate } = limits;
        Self { permissions: permissions.map(|set| set.iter().collect()), scopes, rate, ..self }
    }
}

impl fmt::Debug for ApiKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyRecord")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Record for ApiKeyRecord {
    const TABLE: Table = API_KEY;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(API_KEY_BY_OWNER, |key, keys| keys.add(&key.owner)),
        Index::many(API_KEY_BY_END, |key, keys| {
            if let Some(end) = key.end() {
                keys.add(&end.as_millis());
            }
        }),
    ];
    type Key = ApiKeyId;

    fn key(&self) -> ApiKeyId {
        self.id
    }
}

impl From<ApiKeyRecord> for ApiKey {
    fn from(record: ApiKeyRecord) -> Self {
        let Limits { permissions, scopes, rate } = record.limits();
        let ApiKeyRecord {
            id, owner, name, created, created_by, expires, idle_secs, used, replaced_by, ..
        } = record;
        Self {
            id,
            owner,
            name,
            created,
            created_by,
            expires,
            idle_timeout: (idle_secs > 0).then(|| Duration::from_secs(idle_secs.into())),
            last_used: used,
            permissions,
            scopes,
            rate,
            replaced_by,
        }
    }
}

/// What whoever makes a key for an owner writes, and expects as it was: of two who count the owner's keys at once, one
/// counts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiKeyTurnRecord {
    pub(crate) owner: UserId,
    pub(crate) made: u64,
}

impl Record for ApiKeyTurnRecord {
    const TABLE: Table = API_KEY_TURN;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = UserId;

    fn key(&self) -> UserId {
        self.owner
    }
}
