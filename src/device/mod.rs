//! Devices: what a user has logged in from, and is known by again through a token that the device keeps.

use crate::clock::Timestamp;
use crate::crypto::{DeviceProof, Digest};
use crate::error::{Error, Result};
use crate::id::{DeviceId, Key, UserId};
use crate::network::Network;
use crate::store::{self, Batch, Index, Record, Scan, Store, Stored, Table};
use crate::text;
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const DEVICE: Table = Table::new(80, "device");
pub(crate) const TABLES: &[Table] = &[DEVICE];

/// Devices that make way for one new one, at most: where the setting was lowered, it takes some logins.
const MAKE_WAY: usize = 8;
/// More than any setting allows one user, and so few that one commit can remove all.
const MANY: usize = 80;

/// A device that a user has logged in from, without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Whose it is. A device that two people use is one device of each.
    pub user: UserId,
    /// Safe to show and to log.
    pub id: DeviceId,
    /// As the client named it at its first login, or as it was renamed; perhaps empty.
    pub name: String,
    /// When the user first logged in from it.
    pub first_seen: Timestamp,
    /// When the user last did.
    pub last_seen: Timestamp,
    /// How often the user did, the first time included.
    pub logins: u32,
    /// The network that the last login from it came from, where the caller told the address.
    pub last_network: Option<Network>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub(crate) user: UserId,
    pub(crate) id: DeviceId,
    pub(crate) digest: [u8; 32],
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) seen: Timestamp,
    pub(crate) logins: u32,
    pub(crate) network: Option<Network>,
}

impl fmt::Debug for DeviceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRecord").field("user", &self.user).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Record for DeviceRecord {
    const TABLE: Table = DEVICE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, DeviceId);

    fn key(&self) -> Self::Key {
        (self.user, self.id)
    }
}

impl From<DeviceRecord> for Device {
    fn from(record: DeviceRecord) -> Self {
        let DeviceRecord { user, id, name, created, seen, logins, network, digest: _ } = record;
        Self { user, id, name, first_seen: created, last_seen: seen, logins, last_network: network }
    }
}

/// The device that somebody presents the token of, if the user has it and was seen on it after `since`.
pub(crate) fn known(
    store: &dyn Store,
    user: UserId,
    presented: Option<DeviceProof>,
    since: Timestamp,
) -> Result<Option<Stored<DeviceRecord>>> {
    let Some(presented) = presented else { return Ok(None) };
    let found = store::read::<DeviceRecord>(store, &(user, presented.device))?;
    // The comparison of digests takes the same time wherever they differ.
    Ok(found.filter(|found| Digest(found.record.digest) == presented.digest && found.record.seen >= since))
}

/// The device's row, or that there is no such device.
pub(crate) fn read_device(store: &dyn Store, user: UserId, id: DeviceId) -> Result<Stored<DeviceRecord>> {
    store::read(store, &(user, id))?.ok_or_else(|| Error::not_found("device", format_args!("{id} of {user}")))
}

/// Every device of a user: they are few.
pub(crate) fn of_user(store: &dyn Store, user: UserId) -> Result<Vec<Stored<DeviceRecord>>> {
    let prefix = user.bytes();
    let (found, _) = store::page(store, &Scan { prefix: &prefix, limit: MANY, ..Scan::default() })?;
    Ok(found)
}

/// Stages a new device, and the end of others where there would be more than `most`: first of those that were not seen
/// after `since`, then of those that were never seen again after they came, so that a client which keeps no token can not
/// push out the ones that do.
pub(crate) fn stage_device(
    store: &dyn Store,
    batch: &mut Batch,
    new: &DeviceRecord,
    most: usize,
    since: Timestamp,
) -> Result<()> {
    let mut others = of_user(store, new.user)?;
    others.sort_by_key(|Stored { record: other, .. }| {
        (other.seen >= since, other.logins > 1, other.seen, other.id)
    });
    let over = (others.len() + 1).saturating_sub(most);
    for gone in others.iter().take(over.min(MAKE_WAY)) {
        batch.remove(gone);
    }
    batch.insert(new)
}

/// Stages that the user has logged in from a known device. The row is expected as it was read: what forgets the device
/// comes before or after the login, and not between.
pub(crate) fn stage_seen(
    batch: &mut Batch,
    old: &Stored<DeviceRecord>,
    network: Option<Network>,
    now: Timestamp,
) -> Result<()> {
    let logins = old.record.logins.saturating_add(1);
    let seen = now.max(old.record.seen);
    batch.replace(old, &DeviceRecord { seen, logins, network, ..old.record.clone() })
}

/// Stages another name.
pub(crate) fn stage_rename(
    batch: &mut Batch,
    old: &Stored<DeviceRecord>,
    name: &str,
) -> Result<DeviceRecord> {
    text::plain("device.name", name, text::MAX_NAME)?;
    let new = DeviceRecord { name: name.to_owned(), ..old.record.clone() };
    batch.replace(old, &new)?;
    Ok(new)
}
