//! Devices: which a login comes from, list them, rename them, forget them.

use super::page::{Page, PageRequest};
use super::warrant;
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::crypto::DeviceToken;
use crate::device::{self, DEVICE, Device, DeviceRecord};
use crate::error::Result;
use crate::id::{DeviceId, Key, UserId};
use crate::network::Network;
use crate::session::{Client, SESSION_BY_USER, SessionRecord};
use crate::store::{self, Scan, Store, Stored};
use crate::user;

/// Sessions that one commit ends with their device; each takes four operations.
const PORTION: usize = 32;

/// Lists, renames and forgets the devices that users log in from; get it from [`Portcullis::devices`].
///
/// A device is known again by its token: the first login from it gives one out, and each later login presents it. A login
/// without a token that is known makes a new device.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, NewUser, PageRequest, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let who = Credentials::password("ada", "correct horse battery staple");
/// let first = gate.login(&who, &Client::new().device("laptop"))?;
/// let token = first.device_token().expect("a new device"); // to keep on the device, as a cookie
/// let again = gate.login(&who, &Client::new().device_token(token))?;
/// assert!(again.device_token().is_none(), "it has one");
/// assert_eq!(again.session().device, first.session().device);
/// let known = gate.devices().of_user(ada.id, &PageRequest::default())?.items;
/// assert_eq!((known[0].name.as_str(), known[0].logins), ("laptop", 2));
/// gate.devices().revoke(ada.id, known[0].id)?; // and the two sessions
/// assert!(gate.authenticate(again.token()).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Devices<'g> {
    gate: &'g Portcullis,
}

impl Portcullis {
    /// The devices that users log in from.
    #[must_use]
    pub fn devices(&self) -> Devices<'_> {
        Devices { gate: self }
    }
}

impl Devices<'_> {
    /// A device of a user.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, user: UserId, id: DeviceId) -> Result<Device> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, user)?;
        device::read_device(&*engine.store, user, id).map(|found| found.record.into())
    }

    /// The devices of a user, by number, also those that are about to be forgotten because of their age.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<Device>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        let (found, next) = store::page::<DeviceRecord>(store, &page.scan(DEVICE, &user.bytes())?)?;
        Ok(Page::new(found.into_iter().map(|found| found.record.into()).collect(), DEVICE, next))
    }

    /// Gives a device another name: at most 128 bytes, perhaps empty.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a name that breaks a rule; the storage kinds.
    pub fn rename(&self, user: UserId, id: DeviceId, name: &str) -> Result<Device> {
        let (record, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "rename a device")?;
            expect_user(plan, user)?;
            let old = device::read_device(plan.store, user, id)?;
            let new = device::stage_rename(&mut plan.batch, &old, name)?;
            let entry = Entry::of(Subject::User(user)).detail(format!("{id}: {name}"));
            plan.record(AuditKind::DeviceRenamed, entry)?;
            Ok(new)
        })?;
        Ok(record.into())
    }

    /// Ends the sessions that were opened on a device, and forgets it: the next login from it is one from a new device.
    ///
    /// Where there are more than 32 sessions, it takes more than one commit; the device is forgotten by the last one, so
    /// that after an error it is still there for another try.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn revoke(&self, user: UserId, id: DeviceId) -> Result<()> {
        let engine = self.gate.engine();
        loop {
            let (finished, _) = engine.write(self.gate.actor(), |plan| {
                warrant::may_administer(plan, user, "revoke a device")?;
                expect_user(plan, user)?;
                let old = device::read_device(plan.store, user, id)?;
                let (sessions, more) = sessions_on(plan.store, user, id)?;
                for session in &sessions {
                    plan.batch.remove(session);
                }
                let ended = format!("{id}: {} sessions ended", sessions.len());
                let entry = Entry::of(Subject::User(user)).detail(ended);
                if more {
                    plan.batch.expect_unchanged(&old);
                    plan.record(AuditKind::SessionsRevoked, entry)?;
                } else {
                    plan.batch.remove(&old);
                    plan.record(AuditKind::DeviceRevoked, entry)?;
                }
                Ok(!more)
            })?;
            if finished {
                return Ok(());
            }
        }
    }

    /// Forgets a device and leaves the sessions that were opened on it.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn forget(&self, user: UserId, id: DeviceId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "forget a device")?;
            expect_user(plan, user)?;
            let old = device::read_device(plan.store, user, id)?;
            plan.batch.remove(&old);
            let entry = Entry::of(Subject::User(user)).detail(format!("{id}: its sessions stay"));
            plan.record(AuditKind::DeviceRevoked, entry)
        })?;
        Ok(())
    }

    /// Forgets every device of a user and leaves the sessions; how many there were. To end all sessions too, call
    /// [`Sessions::revoke_all`](crate::Sessions::revoke_all) as well.
    ///
    /// # Errors
    /// `NotFound` for a user that does not exist; the storage kinds.
    pub fn forget_all(&self, user: UserId) -> Result<usize> {
        let (count, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "forget devices")?;
            expect_user(plan, user)?;
            let all = device::of_user(plan.store, user)?;
            if all.is_empty() {
                plan.batch = store::Batch::new();
                return Ok(0);
            }
            for old in &all {
                plan.batch.remove(old);
            }
            let entry = Entry::of(Subject::User(user)).detail(format!("all {}", all.len()));
            plan.record(AuditKind::DeviceRevoked, entry)?;
            Ok(all.len())
        })?;
        Ok(count)
    }
}

/// That there is the user, whose rows may be left where it was deleted a moment ago.
fn expect_user(plan: &mut Plan<'_>, user: UserId) -> Result<()> {
    user::read_user(plan.store, user)?;
    plan.batch.expect_present::<user::UserRecord>(&user);
    Ok(())
}

/// Some sessions that were opened on the device, and whether there are more.
fn sessions_on(
    store: &dyn Store,
    user: UserId,
    device: DeviceId,
) -> Result<(Vec<Stored<SessionRecord>>, bool)> {
    let (mut found, prefix, mut after) = (Vec::new(), user.bytes(), None::<Vec<u8>>);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 256, descending: false };
        let (sessions, next) = store::page_by::<SessionRecord>(store, SESSION_BY_USER, &scan)?;
        found.extend(sessions.into_iter().filter(|session| session.record.device_id == Some(device)));
        if found.len() > PORTION {
            found.truncate(PORTION);
            return Ok((found, true));
        }
        if next.is_none() {
            return Ok((found, false));
        }
        after = next;
    }
}

/// The device of a login that is complete.
#[derive(Default)]
pub(super) struct LoginDevice {
    pub(super) id: Option<DeviceId>,
    /// Where it is a new one.
    pub(super) token: Option<DeviceToken>,
}

impl Engine {
    /// The device that the client presents the token of, if the user has it and was seen on it not too long ago.
    pub(crate) fn known_device(&self, user: UserId, client: &Client) -> Result<Option<Stored<DeviceRecord>>> {
        device::known(&*self.store, user, client.device_proof(), self.forgotten_before(self.now()))
    }

    /// What was last seen before this is as good as forgotten.
    pub(super) fn forgotten_before(&self, now: Timestamp) -> Timestamp {
        let keep = u64::try_from(self.history.keep.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(now.as_millis().saturating_sub(keep))
    }

    /// The network of a client, where its address is known.
    pub(super) fn network_of(&self, client: &Client) -> Option<Network> {
        client.source().map(|address| Network::of(address, self.history.prefixes))
    }

    /// Stages the device of a login that is complete: that the known one was seen, or a new one.
    pub(super) fn stage_device(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        client: &Client,
    ) -> Result<LoginDevice> {
        if self.history.devices == 0 {
            return Ok(LoginDevice::default());
        }
        let network = self.network_of(client);
        if let Some(known) = self.known_device(user, client)? {
            device::stage_seen(&mut plan.batch, &known, network, plan.now)?;
            return Ok(LoginDevice { id: Some(known.record.id), token: None });
        }
        let (token, proof) = DeviceToken::mint(&*self.entropy)?;
        let new = DeviceRecord {
            user,
            id: proof.device,
            digest: proof.digest.0,
            name: client.device_name().to_owned(),
            created: plan.now,
            seen: plan.now,
            logins: 1,
            network,
        };
        device::stage_device(plan.store, &mut plan.batch, &new, self.history.devices)?;
        Ok(LoginDevice { id: Some(proof.device), token: Some(token) })
    }
}
