//! How users are stored.

use super::names::{Look, address_key, look_key};
use super::{Attributes, Contact, ContactKind, Status, User};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ContactId, Key, ScopeId, Stamp, UserId};
use crate::store::{Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};

/// The last generation of sessions that a user can come to: the view has 28 bits for it, and its highest for what no
/// generation ends.
pub(crate) const LAST_GENERATION: u32 = (1 << 28) - 2;

pub(crate) const USER: Table = Table::new(1, "user");
pub(crate) const USER_BY_LOGIN: Table = Table::new(2, "user_by_login");
pub(crate) const USER_BY_STATUS: Table = Table::new(3, "user_by_status");
pub(crate) const USER_BY_CREATION: Table = Table::new(4, "user_by_creation");
pub(crate) const USER_CONTACT: Table = Table::new(5, "user_contact");
pub(crate) const USER_CONTACT_BY_EMAIL: Table = Table::new(6, "user_contact_by_email");
pub(crate) const USER_ATTRIBUTES: Table = Table::new(7, "user_attributes");

pub(crate) const USER_BY_ALIAS: Table = Table::new(74, "user_by_alias");
pub(crate) const USER_BY_VERIFIED_EMAIL: Table = Table::new(75, "user_by_verified_email");

pub(crate) const TABLES: &[Table] = &[
    USER,
    USER_BY_LOGIN,
    USER_BY_STATUS,
    USER_BY_CREATION,
    USER_CONTACT,
    USER_CONTACT_BY_EMAIL,
    USER_ATTRIBUTES,
    USER_BY_ALIAS,
    USER_BY_VERIFIED_EMAIL,
];

/// Under this, beside the numbers of states, the index of states has the service accounts.
pub(crate) const SERVICE_ACCOUNTS: u8 = 200;

/// An account. Failure counters and last-seen times never go in here: they would make it a hot row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) id: UserId,
    pub(crate) login: String,
    pub(crate) canonical: String,
    pub(crate) status: Status,
    pub(crate) home: ScopeId,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Rises when all sessions of the user end; a session of an older generation is dead.
    pub(crate) generation: u32,
    pub(crate) next_contact: u32,
    /// What the name looks like besides itself.
    pub(crate) looks: Vec<Look>,
    /// Whether they are this user's alone: nobody looked so when the name was taken, and somebody asked.
    pub(crate) looks_held: bool,
    /// The e-mail address that the name is, as it was given and in its canonical form.
    pub(crate) addresses: Vec<String>,
    /// A program's: nobody logs in as it.
    pub(crate) service: bool,
}

impl Record for UserRecord {
    const TABLE: Table = USER;
    const INDEXES: &'static [Index<Self>] = &[
        Index::unique(USER_BY_LOGIN, |user, keys| keys.add_text(&user.canonical)),
        Index::many(USER_BY_STATUS, |user, keys| {
            keys.add(&user.status.kind.number());
            if user.service {
                keys.add(&SERVICE_ACCOUNTS);
            }
        }),
        Index::many(USER_BY_CREATION, |user, keys| keys.add(&user.created.as_millis())),
        Index::unique(USER_BY_ALIAS, |user, keys| {
            for address in &user.addresses {
                keys.add_raw(address_key(address));
            }
            for look in &user.looks {
                let key = look_key(look);
                keys.add_raw([key.as_slice(), &user.id.bytes()].concat());
                if user.looks_held {
                    keys.add_raw(key);
                }
            }
        }),
    ];
    type Key = UserId;

    fn key(&self) -> UserId {
        self.id
    }
}

impl UserRecord {
    pub(crate) fn public(self, stamp: Stamp) -> User {
        let Self { id, login, status, home, created, updated, service: service_account, .. } = self;
        User { id, login, status, home, service_account, created, updated, stamp }
    }

    /// Refuses what lets somebody in who is no program.
    pub(crate) fn refuse_service(&self, what: &str) -> Result<()> {
        match self.service {
            false => Ok(()),
            true => {
                let message =
                    format!("{} is a service account, which has no {what}; give it an API key", self.id);
                Err(Error::invalid("user", message))
            }
        }
    }
}

impl From<Stored<UserRecord>> for User {
    fn from(stored: Stored<UserRecord>) -> Self {
        stored.record.public(stored.version.into())
    }
}

/// One contact detail, a row of its own so that a user may have any number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    pub(crate) user: UserId,
    pub(crate) id: ContactId,
    pub(crate) kind: ContactKind,
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) email: Option<String>,
    pub(crate) verified: Option<Timestamp>,
}

impl Record for ContactRecord {
    const TABLE: Table = USER_CONTACT;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(USER_CONTACT_BY_EMAIL, |contact, keys| {
            if let Some(email) = &contact.email {
                keys.add_text(email);
            }
        }),
        Index::unique(USER_BY_VERIFIED_EMAIL, |contact, keys| {
            if let (Some(email), Some(_)) = (&contact.email, contact.verified) {
                keys.add_text(email);
            }
        }),
    ];
    type Key = (UserId, ContactId);

    fn key(&self) -> Self::Key {
        (self.user, self.id)
    }
}

impl From<ContactRecord> for Contact {
    fn from(record: ContactRecord) -> Self {
        let ContactRecord { user, id, kind, label, value, verified, email: _ } = record;
        Self { user, id, kind, label, value, verified }
    }
}

/// Which of a user's two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Section {
    Profile,
    Preferences,
}

impl Section {
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Preferences => "preferences",
        }
    }
}

/// A profile or preferences. An empty map has no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttributesRecord {
    pub(crate) user: UserId,
    pub(crate) section: Section,
    pub(crate) values: Attributes,
}

impl Record for AttributesRecord {
    const TABLE: Table = USER_ATTRIBUTES;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, u8);

    fn key(&self) -> Self::Key {
        (self.user, self.section as u8)
    }
}
