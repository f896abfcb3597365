//! Login history: written with each attempt of a known user, listed, and trimmed.

use super::devices::LoginDevice;
use super::events::{Event, EventKind};
use super::page::{Page, PageRequest};
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::assurance::Methods;
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::device::DeviceRecord;
use crate::error::{Error, Result};
use crate::history::{
    self, HistoryPolicy, KnownNetwork, LOGIN_HISTORY, LoginOutcome, LoginRecord, NetworkRecord, PastLogin,
    Sort,
};
use crate::id::{Key, UserId};
use crate::session::{Client, SessionRecord};
use crate::store::{self, Batch, Scan, Stored};
use crate::user;
use std::collections::BTreeSet;

/// Entries that one commit of the maintenance removes; each takes three operations.
const BATCH: usize = 32;
/// Entries of refused attempts that a success looks at to count the failures before it.
const COUNTED: usize = 64;

/// What came of users' logins; get it from [`Portcullis::history`].
///
/// Attempts with a name that nobody has are in no history. How much is kept, and for how long, is for the
/// [`HistoryPolicy`](crate::HistoryPolicy) to say.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, LoginOutcome, NewUser, PageRequest, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
/// let client = Client::new().device("laptop").ip([192, 0, 2, 7].into());
/// for _ in 0..3 {
///     gate.login(&Credentials::password("ada", "a wrong one"), &client).unwrap_err();
/// }
/// gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
/// let past = gate.history().of_user(ada, &PageRequest::first(10))?.items;
/// let seen: Vec<_> = past.iter().map(|login| (login.outcome, login.attempts)).collect();
/// assert_eq!(seen, [(LoginOutcome::Success, 1), (LoginOutcome::WrongPassword, 3)]);
/// assert_eq!(past[0].network.unwrap().to_string(), "192.0.2.0/24");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct History<'g> {
    gate: &'g Portcullis,
}

impl Portcullis {
    /// What came of users' logins.
    #[must_use]
    pub fn history(&self) -> History<'_> {
        History { gate: self }
    }
}

impl History<'_> {
    /// A user's logins and attempts, the newest first. An entry that stands for several attempts is where the first of
    /// them was.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<PastLogin>> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, user)?;
        let (limit, since) = (page.limit_checked()?, engine.history.forgotten_before(engine.now()));
        // Three listings that are merged by time: the cursor has where each goes on.
        let mut below = read_cursor(user, page)?;
        let mut heads = Vec::new();
        for sort in Sort::ALL {
            let found = history::of_sort(&*engine.store, user, sort, below_of(&below, sort), limit + 1)?;
            heads.extend(found.into_iter().map(|found| found.record));
        }
        heads.retain(|entry| entry.last >= since && !entry.bare);
        heads.sort_by_key(|entry| std::cmp::Reverse((entry.first, entry.number)));
        let more = heads.len() > limit;
        heads.truncate(limit);
        for entry in &heads {
            if let Some(place) = below.get_mut(entry.sort as usize) {
                *place = entry.number;
            }
        }
        let next = more.then(|| write_cursor(user, below));
        let prefixes = engine.history.prefixes;
        Ok(Page::of(heads.into_iter().map(|entry| entry.public(prefixes)).collect(), next))
    }

    /// When the user last logged in; `None` for one who never did. It stays known when all else is forgotten.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn last_login(&self, user: UserId) -> Result<Option<Timestamp>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        Ok(history::newest(store, user, Sort::Success)?.map(|found| found.record.last))
    }

    /// The networks that the user has logged in from, at most 64, the one seen last first.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn networks(&self, user: UserId) -> Result<Vec<KnownNetwork>> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, user)?;
        let since = engine.history.forgotten_before(engine.now());
        let mut found = engine.networks_of(user)?;
        found.retain(|found| found.record.seen >= since);
        found.sort_by_key(|found| std::cmp::Reverse(found.record.seen));
        Ok(found.into_iter().map(|found| found.record.into()).collect())
    }
}

/// For each sort the number below which to go on; the highest for the beginning.
type Below = [u64; 3];

fn below_of(below: &Below, sort: Sort) -> Option<u64> {
    below.get(sort as usize).copied().filter(|below| *below != u64::MAX)
}

fn write_cursor(user: UserId, below: Below) -> Vec<u8> {
    let mut bytes = vec![LOGIN_HISTORY.number];
    bytes.extend_from_slice(&user.bytes());
    bytes.extend(below.iter().flat_map(|below| below.to_be_bytes()));
    bytes
}

fn read_cursor(user: UserId, page: &PageRequest) -> Result<Below> {
    let Some(key) = page.last_key() else { return Ok([u64::MAX; 3]) };
    let foreign = || Error::invalid("cursor", "belongs to another listing");
    let numbers = key.strip_prefix(user.bytes().as_slice()).ok_or_else(foreign)?;
    let (numbers, rest) = numbers.as_chunks::<8>();
    match (numbers, rest, page.table()) {
        ([a, b, c], [], Some(table)) if table == LOGIN_HISTORY.number => {
            Ok([*a, *b, *c].map(u64::from_be_bytes))
        }
        _ => Err(foreign()),
    }
}

impl Engine {
    fn networks_of(&self, user: UserId) -> Result<Vec<Stored<NetworkRecord>>> {
        let prefix = user.bytes();
        let limit = 2 * HistoryPolicy::MOST_NETWORKS;
        Ok(store::page(&*self.store, &Scan { prefix: &prefix, limit, ..Scan::default() })?.0)
    }

    /// Stages an attempt that opened no session into the history of the user, if there still is one.
    pub(super) fn stage_attempt(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        outcome: LoginOutcome,
        methods: Methods,
        client: &Client,
    ) -> Result<()> {
        if store::read::<user::UserRecord>(plan.store, &user)?.is_none() {
            return Ok(());
        }
        // Rows of a user who is deleted meanwhile would stay behind.
        plan.batch.expect_present::<user::UserRecord>(&user);
        let mut entry = LoginRecord::new(user, outcome, methods, plan.now);
        entry.device = self.known_device(user, client)?.map(|known| known.record.id);
        from_client(&mut entry, client);
        history::stage_refused(plan.store, &mut plan.batch, entry, &self.history)
    }

    /// Stages a success into the history of the user, and tells what is unusual about it.
    ///
    /// INVARIANT: the entry takes the number after the newest, which the commit expects to be free. So logins of one user
    /// come one after the other, each judged by all before it.
    pub(super) fn stage_success(
        &self,
        plan: &mut Plan<'_>,
        session: &SessionRecord,
        client: &Client,
        device: &LoginDevice,
    ) -> Result<()> {
        let (user, now) = (session.user, plan.now);
        let before = history::newest(plan.store, user, Sort::Success)?.map(|before| before.record);
        let refused = history::of_sort(plan.store, user, Sort::Refused, None, COUNTED)?;
        let mut entry = LoginRecord::new(user, LoginOutcome::Success, session.methods, now);
        entry.device = device.id;
        entry.session = Some(session.id);
        let from = before.as_ref().map_or(0, |before| before.refused);
        entry.refused = history::next_number(&refused).max(from);
        from_client(&mut entry, client);
        let number = before.as_ref().map_or(0, |before| before.number.saturating_add(1));
        history::stage_entry(plan.store, &mut plan.batch, number, entry, &self.history)?;
        let network = self.network_of(client);
        let new_network = match network {
            Some(network) => {
                let policy = &self.history;
                history::stage_network(plan.store, &mut plan.batch, user, network, now, policy)?
            }
            None => false,
        };

        // What is too old to be kept counts no more, swept or not.
        let kept = self.history.forgotten_before(now);
        let failures = refused
            .iter()
            .filter(|refused| refused.record.number >= from && refused.record.last >= kept)
            .fold(0u32, |sum, refused| sum.saturating_add(refused.record.attempts));
        let told = |kind| {
            let event = Event::of(user, kind).from(client);
            Event { device: device.id, session: Some(session.id), ..event }
        };
        let entry = || Entry::of(Subject::User(user)).and(Subject::Session(session.id));
        if failures >= self.history.failures {
            plan.notify(told(EventKind::SuccessAfterFailures(failures)));
        }
        let Some(before) = before else { return Ok(()) };
        if device.token.is_some() {
            plan.notify(told(EventKind::NewDevice));
        }
        if let Some(network) = network.filter(|_| new_network) {
            plan.notify(told(EventKind::NewNetwork(network)));
        }
        if now.since(before.last) >= self.history.idle {
            plan.notify(told(EventKind::FirstAfterLongIdle(before.last)));
            let entry = entry().detail(format!("the first since {}", before.last));
            plan.record(AuditKind::LoginAfterIdle, entry)?;
        }
        Ok(())
    }

    /// Removes entries that are older than the policy keeps them, and with the last of a user's the devices and networks.
    /// Of the newest success only the time stays.
    pub(super) fn sweep_history(&self, budget: usize) -> Result<usize> {
        let since = self.history.forgotten_before(self.now());
        let mut removed = 0;
        while removed < budget {
            let old = history::oldest_days(&*self.store, since, BATCH.min(budget - removed))?;
            // First, so that it is tried again where it fails: each device was seen when a success was, so that it is too
            // old when that is.
            let users: BTreeSet<UserId> = old.iter().map(|entry| entry.record.user).collect();
            for user in users {
                let (mut devices, mut networks) = (Batch::new(), Batch::new());
                for device in crate::device::of_user(&*self.store, user)? {
                    if device.record.seen < since {
                        devices.remove::<DeviceRecord>(&device);
                    }
                }
                for network in self.networks_of(user)? {
                    if network.record.seen < since {
                        networks.remove(&network);
                    }
                }
                if !self.commit_or_skip(devices)? || !self.commit_or_skip(networks)? {
                    return Ok(removed);
                }
            }
            let mut batch = Batch::new();
            for entry in &old {
                let (user, number) = (entry.record.user, entry.record.number);
                let newest = entry.record.sort == Sort::Success
                    && history::newest(&*self.store, user, Sort::Success)?
                        .is_none_or(|newest| newest.record.number == number);
                match newest {
                    true => batch.replace(entry, &history::stripped(&entry.record))?,
                    false => batch.remove(entry),
                }
            }
            if old.is_empty() || !self.commit_or_skip(batch)? {
                break;
            }
            removed += old.len();
        }
        Ok(removed)
    }
}

fn from_client(entry: &mut LoginRecord, client: &Client) {
    entry.ip = client.source();
    client.device_name().clone_into(&mut entry.device_name);
    client.user_agent_text().clone_into(&mut entry.user_agent);
}
