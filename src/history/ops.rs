//! Staging of entries: each takes the next number, and pushes out what is beyond the bound of its sort.

use super::record::{LOGIN_HISTORY_BY_DAY, LoginRecord, NetworkRecord, Sort, day_of};
use super::{HistoryPolicy, LoginOutcome};
use crate::assurance::Methods;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{Key, UserId};
use crate::network::{Network, Prefixes};
use crate::store::{self, Batch, Scan, Store, Stored};
use std::time::Duration;

/// Within this time like attempts from one network make one entry.
const TOGETHER: Duration = Duration::from_secs(3600);
/// Among so many of the newest entries a like one is looked for, so that sources that take turns are still told apart.
const LOOK_BACK: usize = 8;
/// Old entries that one new entry removes, at most.
const TRIMMED: usize = 3;
/// Networks that make way for one new one, at most: where the setting was lowered, it takes some logins.
const MAKE_WAY: usize = 8;
/// How much of a user agent string is kept, in bytes.
const USER_AGENT: usize = 160;
/// A network that was seen within this time is not written again.
const COALESCED: Duration = Duration::from_secs(3600);

/// Entries of one sort, the newest first; below that number, if one is given.
pub(crate) fn of_sort(
    store: &dyn Store,
    user: UserId,
    sort: Sort,
    below: Option<u64>,
    limit: usize,
) -> Result<Vec<Stored<LoginRecord>>> {
    let prefix = (user, sort as u8).bytes();
    let after = below.map(|below| ((user, sort as u8), below).bytes());
    let scan = Scan { prefix: &prefix, after: after.as_deref(), limit, descending: true };
    Ok(store::page(store, &scan)?.0)
}

/// The number after the newest of these, which come the newest first.
pub(crate) fn next_number(newest_first: &[Stored<LoginRecord>]) -> u64 {
    newest_first.first().map_or(0, |newest| newest.record.number.saturating_add(1))
}

/// The newest entry of one sort.
pub(crate) fn newest(store: &dyn Store, user: UserId, sort: Sort) -> Result<Option<Stored<LoginRecord>>> {
    Ok(of_sort(store, user, sort, None, 1)?.pop())
}

/// Entries of the oldest days, up to that one and without it.
pub(crate) fn oldest_days(
    store: &dyn Store,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Stored<LoginRecord>>> {
    let scan = Scan { limit, ..Scan::default() };
    let (mut found, _) = store::page_by::<LoginRecord>(store, LOGIN_HISTORY_BY_DAY, &scan)?;
    let day = day_of(before);
    found.truncate(found.iter().take_while(|entry| day_of(entry.record.last) < day).count());
    Ok(found)
}

/// What is left of the last success once it is too old to be kept.
pub(crate) fn stripped(record: &LoginRecord) -> LoginRecord {
    LoginRecord {
        methods: Methods::NONE,
        ip: None,
        device: None,
        device_name: String::new(),
        user_agent: String::new(),
        session: None,
        bare: true,
        ..record.clone()
    }
}

/// Stages an entry with that number, and the end of some that are beyond the bound or too old.
pub(crate) fn stage_entry(
    store: &dyn Store,
    batch: &mut Batch,
    number: u64,
    mut entry: LoginRecord,
    policy: &HistoryPolicy,
) -> Result<()> {
    let most = match entry.sort {
        Sort::Success => policy.successes,
        Sort::Refused => policy.refusals,
        Sort::Step => policy.steps,
    };
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    if most == 0 {
        return Ok(());
    }
    entry.number = number;
    entry.user_agent.truncate(entry.user_agent.floor_char_boundary(USER_AGENT));
    let prefix = (entry.user, entry.sort as u8).bytes();
    let (oldest, _) =
        store::page::<LoginRecord>(store, &Scan { prefix: &prefix, limit: TRIMMED, ..Scan::default() })?;
    let since = policy.forgotten_before(entry.last);
    for old in oldest {
        if old.record.number.saturating_add(most) <= entry.number || old.record.last < since {
            batch.remove(&old);
        }
    }
    batch.insert(&entry)
}

/// Whether two attempts are alike enough to stand in one entry.
fn alike(old: &LoginRecord, new: &LoginRecord, prefixes: Prefixes) -> bool {
    let network = |record: &LoginRecord| record.ip.map(|ip| Network::of(ip, prefixes));
    old.outcome == new.outcome
        && old.methods == new.methods
        && old.device == new.device
        && network(old) == network(new)
        && new.last.since(old.first) <= TOGETHER
}

/// Stages an attempt that opened no session: an entry of its own, or one more in an entry that it is like.
pub(crate) fn stage_refused(
    store: &dyn Store,
    batch: &mut Batch,
    mut entry: LoginRecord,
    policy: &HistoryPolicy,
) -> Result<()> {
    let recent = of_sort(store, entry.user, entry.sort, None, LOOK_BACK)?;
    // What came before the last success stays apart from what comes after it.
    let from = match entry.sort {
        Sort::Refused => newest(store, entry.user, Sort::Success)?.map_or(0, |last| last.record.refused),
        _ => 0,
    };
    let like =
        recent.iter().find(|old| old.record.number >= from && alike(&old.record, &entry, policy.prefixes));
    if let Some(old) = like {
        entry.number = old.record.number;
        entry.first = old.record.first;
        entry.last = entry.last.max(old.record.last);
        entry.attempts = old.record.attempts.saturating_add(1);
        entry.user_agent.truncate(entry.user_agent.floor_char_boundary(USER_AGENT));
        return batch.replace(old, &entry);
    }
    // Where all before it were removed, the numbers go on behind those that the last success has counted.
    stage_entry(store, batch, next_number(&recent).max(from), entry, policy)
}

/// Stages that the user logged in from a network; true if it is not among the remembered.
pub(crate) fn stage_network(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    network: Network,
    now: Timestamp,
    policy: &HistoryPolicy,
) -> Result<bool> {
    let found = store::read::<NetworkRecord>(store, &(user, network))?;
    if let Some(found) = &found {
        if now.since(found.record.seen) < COALESCED {
            return Ok(false);
        }
        let known = found.record.seen >= policy.forgotten_before(now);
        let created = if known { found.record.created } else { now };
        batch.replace(found, &NetworkRecord { created, seen: now, ..found.record.clone() })?;
        return Ok(!known);
    }
    let prefix = user.bytes();
    let (mut others, _) = store::page::<NetworkRecord>(
        store,
        &Scan { prefix: &prefix, limit: HistoryPolicy::MOST_NETWORKS + 1, ..Scan::default() },
    )?;
    others.sort_by_key(|other| (other.record.seen, other.record.network));
    let over = (others.len() + 1).saturating_sub(policy.networks);
    for gone in others.iter().take(over.min(MAKE_WAY)) {
        batch.remove(gone);
    }
    batch.insert(&NetworkRecord { user, network, created: now, seen: now })?;
    Ok(true)
}

impl LoginRecord {
    /// An attempt as it is now, with nothing known of where it came from.
    pub(crate) fn new(user: UserId, outcome: LoginOutcome, methods: Methods, now: Timestamp) -> Self {
        Self {
            user,
            sort: outcome.sort(),
            number: 0,
            first: now,
            last: now,
            attempts: 1,
            outcome,
            methods,
            ip: None,
            device: None,
            device_name: String::new(),
            user_agent: String::new(),
            session: None,
            refused: 0,
            bare: false,
        }
    }
}
