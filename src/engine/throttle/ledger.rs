//! What an attempt comes to, in the commit of what follows from it.

use super::{Admission, Counts, from_text, is_kept, is_of_this_hour};
use crate::assurance::{Method, Methods};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::engine::events::{Event, EventKind};
use crate::engine::login::Refusal;
use crate::engine::write::{Entry, Plan};
use crate::error::Result;
use crate::id::{Key, UserId};
use crate::store::{self, Expect, Record, Scan, Store};
use crate::throttle::{
    AccountRecord, Counted, Counter, KeyRecord, Party, Place, SourceCount, stage_entry, stage_forgotten,
};
use crate::user::{self, ContactKind, ContactRecord};
use std::sync::atomic::Ordering;

/// Rows of one user that one commit forgets: all that there are where it does nothing else, and half of them with a new
/// password or factor, so that no commit grows too large. Those of strangers and of sessions come first; a device beyond
/// them waits for its own delay, and one that is stopped goes on as anybody.
const MANY: usize = 72;
const MOST_BESIDE: usize = 48;
/// Contacts of a user that are looked through for addresses to log in by, and how many of those are forgotten with the
/// failures of the password; what is beyond that waits for its own delay.
const MOST_CONTACTS: usize = 64;
const MOST_ADDRESSES: usize = 16;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Fault {
    /// It was wrong.
    Wrong,
    /// It was right, or nobody's, or could not be compared, and is answered as if it were wrong: delays grow as for a wrong
    /// one, or they would tell it from that, but it does not count for the stop.
    Barred,
}

impl Admission<'_> {
    /// Counts a failure, in the commit of its audit record. Returns what that record is to say besides: how many attempts
    /// were refused before this one, where any were.
    ///
    /// The user is whoever was found by the name, where anybody was.
    pub(in crate::engine) fn failed(
        &self,
        plan: &mut Plan<'_>,
        user: Option<UserId>,
        fault: Fault,
    ) -> Result<()> {
        let Some(counts) = &self.counts else { return Ok(()) };
        let (throttle, now) = (&self.engine.throttle, plan.now);
        if !throttle.key_stored.load(Ordering::Acquire) {
            if store::read::<KeyRecord>(plan.store, &0)?.is_none() {
                plan.batch.insert(&KeyRecord { key: throttle.key })?;
            } else {
                throttle.key_stored.store(true, Ordering::Release);
            }
        }
        let mut of_the_name = true;
        if let Some(place) = counts.pair {
            stage_entry::<Counted>(plan.store, &mut plan.batch, place, |old| {
                let before = old.filter(|old| is_kept(old, now)).map_or(0, |old| old.failures);
                // One address alone must not make others wait.
                of_the_name = before < throttle.policy.free().max(1);
                Some(one_more(place.tag, before, now))
            })?;
        }
        if let Some(place) = counts.name.filter(|_| of_the_name) {
            stage_entry::<Counted>(plan.store, &mut plan.batch, place, |old| {
                Some(one_more(place.tag, old.map_or(0, |old| old.failures), now))
            })?;
        }
        if let Some(place) = counts.source {
            self.stage_source(plan, counts, place)?;
        }
        let party = counts.account.map_or(Party::Stranger, |(_, party)| party);
        let user = counts.account.map(|(user, _)| user).or(user);
        // A device that is stopped goes on as anybody, so that there both may count.
        match user.filter(|_| fault == Fault::Wrong || matches!(party, Party::Device(_))) {
            Some(user) => self.stage_wrong(plan, user, party, counts.method),
            None => Ok(()),
        }
    }

    /// What the audit record of a failure is to say besides: how many attempts were refused before it, where any were.
    pub(in crate::engine) fn refused_before(&self) -> String {
        let Some(counts) = &self.counts else { return String::new() };
        let throttle = &self.engine.throttle;
        let mut refused = throttle.take_refusals(counts.own);
        if counts.from != 0 {
            refused = refused.saturating_add(throttle.take_refusals(counts.from));
        }
        if refused == 0 { String::new() } else { format!("; {refused} refused before it") }
    }

    /// Counts one more failure of a source, and tells where it tries many names.
    fn stage_source(&self, plan: &mut Plan<'_>, counts: &Counts, place: Place) -> Result<()> {
        let (policy, now) = (&self.engine.throttle.policy, plan.now);
        let name = 1_u64 << (counts.own >> 58);
        let mut found_out = false;
        stage_entry::<SourceCount>(plan.store, &mut plan.batch, place, |old| {
            let zero = Timestamp::from_millis(0);
            let filled = old.map_or(zero, |old| old.filled);
            let hour = old.filter(|old| is_of_this_hour(old, now));
            let names = hour.map_or(0, |old| old.names) | if counts.own == 0 { 0 } else { name };
            let stuffing = hour.is_some_and(|old| old.stuffing);
            found_out = !stuffing && names.count_ones() >= policy.name_bits();
            let since = hour.map_or(now, |old| old.since);
            let filled = policy.pace(filled, stuffing || found_out, now).failed(now);
            let stuffing = stuffing || found_out;
            Some(SourceCount { tag: place.tag, filled, names, since, stuffing, told: false })
        })?;
        if found_out {
            let detail = format!("many names within an hour{}", from_text(counts.network));
            let entry = Entry::default().detail(detail);
            plan.record_outcome(AuditKind::CredentialStuffing, Outcome::Denied, Actor::Anonymous, entry)?;
            if let Some(network) = counts.network {
                plan.notify(Event::any(EventKind::CredentialStuffing(network)));
            }
        }
        Ok(())
    }

    /// Counts one more wrong attempt of an account, which may be the last.
    fn stage_wrong(&self, plan: &mut Plan<'_>, user: UserId, party: Party, method: Method) -> Result<()> {
        let old = store::read::<AccountRecord>(plan.store, &AccountRecord::key_of(user, party))?;
        let before =
            old.as_ref().and_then(|old| old.record.counter(method)).map_or(0, |counter| counter.failures);
        let failures = before.saturating_add(1);
        let counter = Counter { method: Methods::of(method), failures, last: plan.now, told: false };
        match &old {
            Some(old) => plan.batch.replace(old, &old.record.with(method, Some(counter)))?,
            None => plan.batch.insert(&AccountRecord { user, party, counters: vec![counter] })?,
        }
        let stops = |failures| self.engine.throttle.policy.stops(failures);
        if stops(failures) && !stops(before) {
            let detail = format!("{method}: {failures} failures in a row{}", on(party));
            plan.record_outcome(
                AuditKind::LoginStopped,
                Outcome::Success,
                Actor::System,
                Entry::of(Subject::User(user)).detail(detail),
            )?;
            plan.notify(Event::of(user, EventKind::LoginStopped(method)));
        }
        Ok(())
    }

    /// Counts a success in the commit of what it leads to, which clears the failures of this method; refused where it comes
    /// after too many of them. The commit expects that there was none meanwhile.
    pub(in crate::engine) fn succeeded(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
    ) -> Result<std::result::Result<(), Refusal>> {
        let Some(counts) = &self.counts else { return Ok(Ok(())) };
        let policy = &self.engine.throttle.policy;
        let party = counts.account.map_or(Party::Stranger, |(_, party)| party);
        let key = AccountRecord::key_of(user, party);
        let mut failures = 0;
        match store::read::<AccountRecord>(plan.store, &key)? {
            None => plan.batch.expect(AccountRecord::TABLE, key.bytes(), Expect::Absent),
            Some(old) => match old.record.counter(counts.method) {
                None => plan.batch.expect_unchanged(&old),
                Some(counter) if policy.stops(counter.failures) => return Ok(Err(Refusal::Stopped)),
                Some(counter) => {
                    failures = counter.failures;
                    let new = old.record.with(counts.method, None);
                    match new.counters.is_empty() {
                        true => plan.batch.remove(&old),
                        false => plan.batch.replace(&old, &new)?,
                    }
                }
            },
        }
        for place in counts.name.into_iter().chain(counts.pair) {
            stage_entry::<Counted>(plan.store, &mut plan.batch, place, |_| None)?;
        }
        if failures > policy.free() {
            let detail = format!("{}: after {failures} failures in a row{}", counts.method, on(party));
            plan.record(AuditKind::LoginAfterFailures, Entry::of(Subject::User(user)).detail(detail))?;
        }
        Ok(Ok(()))
    }

    /// Whether the method is stopped for whoever makes this attempt: for work that must not be done for one who is refused
    /// in the end. The commit decides, by [`succeeded`](Self::succeeded).
    pub(in crate::engine) fn is_stopped(&self, user: UserId) -> Result<bool> {
        let Some(counts) = &self.counts else { return Ok(false) };
        let party = counts.account.map_or(Party::Stranger, |(_, party)| party);
        let key = AccountRecord::key_of(user, party);
        let row = store::read::<AccountRecord>(&*self.engine.store, &key)?;
        let failures = row.and_then(|row| row.record.counter(counts.method).map(|counter| counter.failures));
        Ok(self.engine.throttle.policy.stops(failures.unwrap_or(0)))
    }
}

fn one_more(tag: u32, before: u32, now: Timestamp) -> Counted {
    Counted { tag, failures: before.saturating_add(1), last: now, told: false }
}

fn on(party: Party) -> String {
    match party {
        Party::Stranger => String::new(),
        Party::Session => ", in a session".to_owned(),
        Party::Device(device) => format!(", on {device}"),
    }
}

impl Engine {
    /// Forgets what was counted for a method of a user, in the commit that binds another password or factor of this method
    /// to the account; for a password also the delays of the names that the user can log in by. A new code to be sent is no such thing (NIST SP
    /// 800-63B-4, section 3.1.3.2).
    pub(in crate::engine) fn forget_failures(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        method: Option<Method>,
    ) -> Result<bool> {
        let prefix = user.bytes();
        let limit = if method.is_some() { MOST_BESIDE } else { MANY };
        let scan = Scan { prefix: &prefix, limit, ..Scan::default() };
        let (rows, _) = store::page::<AccountRecord>(plan.store, &scan)?;
        let before = plan.batch.operations();
        for old in rows {
            let new = match method {
                Some(method) => old.record.with(method, None),
                None => AccountRecord { counters: Vec::new(), ..old.record.clone() },
            };
            match new.counters.len() {
                0 => plan.batch.remove(&old),
                left if left == old.record.counters.len() => {}
                _ => plan.batch.replace(&old, &new)?,
            }
        }
        if method.is_none_or(|method| method == Method::Password) {
            let names = names_of(plan.store, user)?;
            let places: Vec<Place> = names.iter().map(|name| self.throttle.place_of_name(name)).collect();
            stage_forgotten::<Counted>(plan.store, &mut plan.batch, &places)?;
        }
        Ok(plan.batch.operations() > before)
    }
}

/// The names that a user can log in by.
fn names_of(store: &dyn Store, user: UserId) -> Result<Vec<String>> {
    let prefix = user.bytes();
    let scan = Scan { prefix: &prefix, limit: MOST_CONTACTS, ..Scan::default() };
    let (contacts, _) = store::page::<ContactRecord>(store, &scan)?;
    let verified = contacts
        .into_iter()
        .map(|contact| contact.record)
        .filter(|contact| contact.kind == ContactKind::Email && contact.verified.is_some());
    let mut names = vec![user::read_user(store, user)?.record.canonical];
    names.extend(verified.map(|contact| contact.value).take(MOST_ADDRESSES));
    Ok(names)
}
