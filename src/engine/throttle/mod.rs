//! Throttling: whether an attempt may be made now, before anything dear is computed for it.
//!
//! Whoever checks a password, a code or a one-time token asks [`Engine::admit`] first, and tells the [`Admission`] in the
//! commit of what follows how it ended: [`Admission::failed`] or [`Admission::succeeded`]. One that tells neither has
//! not counted. Attempts under way count as failures for those that come after them, until their admission is dropped,
//! which therefore happens after the commit: so that many at once get no more guesses than one after the other.
//!
//! `ledger` has what is counted, `operator` what administrators see and do.

mod ledger;
mod operator;
#[cfg(feature = "testing")]
mod populate;
#[cfg(test)]
mod tests;
mod under_way;

pub(in crate::engine) use ledger::Fault;
#[cfg(feature = "testing")]
pub(crate) use populate::failures as populate_failures;

use super::Engine;
use super::events::{Event, EventKind};
use super::write::{Entry as Told, Plan};
use crate::assurance::{Method, Methods};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::clock::Timestamp;
use crate::error::{Denial, Result, RetryAfter};
use crate::history::LoginOutcome;
use crate::id::{Key, UserId};
use crate::network::Network;
use crate::secret::{Entropy, random};
use crate::session::Client;
use crate::store::{self, Store};
use crate::text;
use crate::throttle::{
    AccountRecord, COUNT_NAMES, COUNT_PAIRS, Counted, Counter, Entry, KeyRecord, Party, Place, RowRecord,
    SourceCount, ThrottlePolicy, Wait,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use under_way::{Flight, Flights, Turn};

/// For how many delays refusals are counted in memory between two audit records.
const COUNTED_REFUSALS: usize = 1024;

/// What throttling keeps in memory: nothing that a crash may not lose.
pub(super) struct Throttle {
    policy: ThrottlePolicy,
    key: [u8; 32],
    /// Whether the key is in the database; it is drawn at the open and stored with the first failure.
    key_stored: AtomicBool,
    flights: Flights,
    /// By their hash, how many attempts were refused since the last audit record: the upper half of the hash, and the
    /// number. Two hashes of one place push each other out, so that the numbers are lower bounds.
    refused: Box<[AtomicU64]>,
    /// Where maintenance goes on.
    swept: parking_lot::Mutex<operator::Swept>,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Throttle {
    /// With so many attempts that may wait for others under way, and for how long.
    pub(super) fn open(
        store: &dyn Store,
        entropy: &dyn Entropy,
        policy: ThrottlePolicy,
        queue: usize,
        patience: Duration,
    ) -> Result<Self> {
        let stored = store::read::<KeyRecord>(store, &0)?;
        let key = match &stored {
            Some(stored) => stored.record.key,
            None => *random::<32>(entropy)?,
        };
        Ok(Self {
            policy,
            key,
            key_stored: AtomicBool::new(stored.is_some()),
            flights: Flights::new(queue, patience),
            refused: (0..COUNTED_REFUSALS).map(|_| AtomicU64::new(0)).collect(),
            swept: parking_lot::Mutex::default(),
        })
    }

    fn hash(&self, kind: u8, parts: [&[u8]; 2]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[kind]);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut number = [0; 8];
        hasher.finalize_xof().fill(&mut number);
        u64::from_le_bytes(number)
    }

    /// One for all spellings of a name by which a user is found, be it a login name or an address.
    fn hash_of_name(&self, name: &str) -> u64 {
        // An address can be a login name, too, with spellings that are none of the address, such as one in wide letters.
        let as_address = |name: &str| text::email(name).map(|email| email.found);
        let found = as_address(name);
        let address = found.as_deref().unwrap_or(name);
        match text::canonical_login(address) {
            Ok(canonical) => {
                let name = as_address(&canonical).unwrap_or(canonical);
                self.hash(0, [name.as_bytes(), &[]])
            }
            Err(_) => self.hash(1, [address.as_bytes(), &[]]),
        }
    }

    fn place_of_name(&self, name: &str) -> Place {
        Place::of(COUNT_NAMES, self.policy.row_bits(), self.hash_of_name(name))
    }

    fn refusals_of(&self, hash: u64) -> Option<(&AtomicU64, u64)> {
        let place = self.refused.get((hash % COUNTED_REFUSALS as u64) as usize)?;
        Some((place, hash & !u64::from(u32::MAX)))
    }

    fn count_refusal(&self, hash: u64) {
        if let Some((place, tag)) = self.refusals_of(hash) {
            let next = |old: u64| match old & !u64::from(u32::MAX) == tag {
                true => tag | ((old & u64::from(u32::MAX)) + 1).min(u32::MAX.into()),
                false => tag | 1,
            };
            // A lost race loses one refusal of the number.
            let old = place.load(Ordering::Relaxed);
            let _ = place.compare_exchange(old, next(old), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How many were refused, from now on counted anew.
    fn take_refusals(&self, hash: u64) -> u32 {
        let Some((place, tag)) = self.refusals_of(hash) else { return 0 };
        let old = place.load(Ordering::Relaxed);
        let mine = old & !u64::from(u32::MAX) == tag
            && place.compare_exchange(old, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine { (old & u64::from(u32::MAX)) as u32 } else { 0 }
    }
}

/// What somebody is about to try.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Attempt<'a> {
    who: Who<'a>,
    method: Method,
    client: &'a Client,
}

#[derive(Clone, Copy, Debug)]
enum Who<'a> {
    /// Whoever has the name, if anybody does.
    Name(&'a str),
    /// A user who has proved something else already.
    User(UserId),
    /// A user who has a session.
    Session(UserId),
    Nobody,
}

impl<'a> Attempt<'a> {
    /// A password with a login name, which need not be one. Whether there is such a user makes no difference.
    pub(in crate::engine) fn login(name: &'a str, client: &'a Client) -> Self {
        Self { who: Who::Name(name), method: Method::Password, client }
    }

    /// A second factor, in a login in which the user was found.
    pub(in crate::engine) fn step(user: UserId, method: Method, client: &'a Client) -> Self {
        Self { who: Who::User(user), method, client }
    }

    /// Whatever a user proves anew within a session: the present password when changing it, a factor for a step up. It is
    /// held up by failures within sessions only.
    pub(in crate::engine) fn inside(user: UserId, method: Method, client: &'a Client) -> Self {
        Self { who: Who::Session(user), method, client }
    }

    /// A one-time token, which names nobody before it is found: counted by its source only.
    pub(in crate::engine) fn token(client: &'a Client) -> Self {
        Self { who: Who::Nobody, method: Method::MagicLink, client }
    }
}

/// Where an attempt is counted.
#[derive(Clone, Debug)]
struct Counts {
    method: Method,
    /// The exact row, where the user is known before anything was proved or computed.
    account: Option<(UserId, Party)>,
    name: Option<Place>,
    pair: Option<Place>,
    source: Option<Place>,
    /// What attempts under way are told apart by: the name or the account, and the source.
    own: u64,
    from: u64,
    network: Option<Network>,
}

/// What is stored where an attempt is counted.
struct Seen {
    account: Option<Counter>,
    name: Option<Counted>,
    pair: Option<Counted>,
    source: Option<SourceCount>,
}

/// What holds an attempt up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Account,
    Name,
    Pair,
    Source,
}

enum Judged {
    Free,
    ForOthers,
    Until { end: Timestamp, by: By, failures: u32, told: bool },
}

/// The right to make an attempt. The attempt is under way until this is dropped.
pub(in crate::engine) struct Admission<'e> {
    engine: &'e Engine,
    /// `None` where throttling is off.
    counts: Option<Counts>,
    _flight: Option<Flight<'e>>,
}

impl Engine {
    /// Whether an attempt may be made now. It costs no hash and, but for the first refusal of a delay, which is written
    /// down, no commit.
    ///
    /// Waits where attempts under way could use up what is left, no longer than the admission gate's patience. Refusals
    /// are [`Denial::Throttled`].
    ///
    /// # Errors
    /// `Busy` where too many wait, or for too long; the storage kinds.
    pub(in crate::engine) fn admit(
        &self,
        attempt: &Attempt<'_>,
    ) -> Result<std::result::Result<Admission<'_>, Denial>> {
        if !self.throttle.policy.on {
            return Ok(Ok(Admission { engine: self, counts: None, _flight: None }));
        }
        let counts = self.counts_of(attempt)?;
        // INVARIANT: what is judged in turn was read after the last commit of an attempt that is not under way any more.
        let mut version = self.store.now();
        let mut seen = self.seen(&counts)?;
        if let Judged::Until { end, by, failures, told } = self.judge(&counts, &seen, 0, 0) {
            return self.throttled(attempt, &counts, by, failures, told, end).map(Err);
        }
        let flight = self.throttle.flights.take_off(counts.own, counts.from, |own, from| {
            let now = self.store.now();
            if now != version {
                version = now;
                seen = self.seen(&counts)?;
            }
            Ok(match self.judge(&counts, &seen, own, from) {
                Judged::Free => Turn::Go,
                Judged::ForOthers => Turn::Wait,
                Judged::Until { end, by, failures, told } => Turn::Stay((end, by, failures, told)),
            })
        })?;
        match flight {
            Ok(flight) => Ok(Ok(Admission { engine: self, counts: Some(counts), _flight: Some(flight) })),
            Err((end, by, failures, told)) => {
                self.throttled(attempt, &counts, by, failures, told, end).map(Err)
            }
        }
    }

    /// The user of a name has no part in this, unless a device is presented.
    fn counts_of(&self, attempt: &Attempt<'_>) -> Result<Counts> {
        let (throttle, method) = (&self.throttle, attempt.method);
        let user = match attempt.who {
            Who::User(user) | Who::Session(user) => Some(user),
            Who::Name(name) if attempt.client.device_proof().is_some() => {
                self.user_to_log_in(name)?.map(|user| user.record.id)
            }
            Who::Name(_) | Who::Nobody => None,
        };
        let mut party = match attempt.who {
            Who::Session(_) => Party::Session,
            _ => Party::Stranger,
        };
        if let Some(user) = user
            && party == Party::Stranger
            && let Some(device) = self.known_device(user, attempt.client)?
        {
            let known = Party::Device(device.record.id);
            let row = store::read::<AccountRecord>(&*self.store, &AccountRecord::key_of(user, known))?;
            let failures = row.and_then(|row| row.record.counter(method).map(|counter| counter.failures));
            // Who was wrong that often on a known device goes on as anybody.
            if !throttle.policy.stops(failures.unwrap_or(0)) {
                party = known;
            }
        }
        let network = match party {
            Party::Stranger => attempt.client.source(),
            Party::Session | Party::Device(_) => None,
        };
        let network = network.map(|address| Network::of(address, throttle.policy.prefixes));
        let by_name = matches!((attempt.who, party), (Who::Name(_), Party::Stranger));
        let account = user.filter(|_| !by_name).map(|user| (user, party));
        let own = match (attempt.who, account) {
            (Who::Name(name), None) => throttle.hash_of_name(name),
            (_, Some((user, party))) => {
                let account = AccountRecord::key_of(user, party).bytes();
                throttle.hash(2, [&account, method.name().as_bytes()])
            }
            (_, None) => 0,
        };
        let address = network.map(|network| network.bytes());
        let from = address.as_ref().map(|address| throttle.hash(3, [address, &[]]));
        let pair = address.as_ref().map(|address| throttle.hash(4, [address, &own.to_le_bytes()]));
        let bits = throttle.policy.row_bits();
        Ok(Counts {
            method,
            account,
            name: by_name.then(|| Place::of(COUNT_NAMES, bits, own)),
            pair: pair.filter(|_| by_name).map(|hash| Place::of(COUNT_PAIRS, bits, hash)),
            source: from.map(|hash| Place::of(0, bits.saturating_sub(3), hash)),
            own,
            from: from.unwrap_or(0),
            network,
        })
    }

    fn seen(&self, counts: &Counts) -> Result<Seen> {
        let store = &*self.store;
        let account = match counts.account {
            Some((user, party)) => store::read::<AccountRecord>(store, &AccountRecord::key_of(user, party))?,
            None => None,
        };
        Ok(Seen {
            account: account.and_then(|row| row.record.counter(counts.method).cloned()),
            name: entry(store, counts.name)?,
            pair: entry(store, counts.pair)?.filter(|pair| is_kept(pair, self.now())),
            source: entry(store, counts.source)?,
        })
    }

    /// With so many others under way at the same name or account, and from the same source.
    fn judge(&self, counts: &Counts, seen: &Seen, own: u32, from: u32) -> Judged {
        let (policy, now) = (&self.throttle.policy, self.now());
        let zero = Timestamp::from_millis(0);
        let mut judged = Judged::Free;
        let mut weigh = |by: By, wait: Wait, failures: u32, told: bool| match (wait, &judged) {
            (Wait::Until(end), Judged::Until { end: other, .. }) if end <= *other => {}
            (Wait::Until(end), _) => judged = Judged::Until { end, by, failures, told },
            (Wait::ForOthers, Judged::Free) => judged = Judged::ForOthers,
            _ => {}
        };
        let mut count = |by: By, failures: u32, last: Timestamp, told: bool| {
            weigh(by, policy.after(failures, last, own, now), failures, told);
        };
        if counts.account.is_some() {
            let (failures, last, told) =
                seen.account.as_ref().map_or((0, zero, false), |seen| (seen.failures, seen.last, seen.told));
            count(By::Account, failures, last, told);
        }
        for (by, place, seen) in [(By::Name, counts.name, &seen.name), (By::Pair, counts.pair, &seen.pair)] {
            if place.is_some() {
                let (failures, last, told) =
                    seen.as_ref().map_or((0, zero, false), |seen| (seen.failures, seen.last, seen.told));
                count(by, failures, last, told);
            }
        }
        if counts.source.is_some() {
            let (filled, tight, told) = seen.source.as_ref().map_or((zero, false, false), |seen| {
                (seen.filled, seen.stuffing && is_of_this_hour(seen, now), seen.told)
            });
            weigh(By::Source, policy.pace(filled, tight, now).after(from, now), 0, told);
        }
        judged
    }

    /// Refuses an attempt, and writes that down where it is the first one refused in this delay.
    fn throttled(
        &self,
        attempt: &Attempt<'_>,
        counts: &Counts,
        by: By,
        failures: u32,
        told: bool,
        end: Timestamp,
    ) -> Result<Denial> {
        let span = end.since(self.now());
        let denial = Denial::Throttled(RetryAfter::rounded_up(span));
        if told {
            self.throttle.count_refusal(counts.refused_as(by));
            return Ok(denial);
        }
        let user = match attempt.who {
            Who::Name(name) => self.user_to_log_in(name)?.map(|user| user.record.id),
            Who::User(user) | Who::Session(user) => Some(user),
            Who::Nobody => None,
        };
        let why = match by {
            By::Account => format!("{} after {failures} failures in a row", counts.method),
            By::Name => format!("{failures} failures in a row at this name"),
            By::Pair => format!("{failures} failures in a row at this name from there"),
            By::Source => "too many failures from there, at whatever names".to_owned(),
        };
        let detail = format!("{why}; refused until {end}{}", from_text(counts.network));
        let (first, _) = self.write(Actor::Anonymous, |plan| {
            let first = stage_told(plan, counts, by)?;
            if first {
                let entry = Told { subject: user.map(Subject::User), object: None, detail: detail.clone() };
                plan.record_outcome(AuditKind::LoginThrottled, Outcome::Denied, Actor::Anonymous, entry)?;
                if let Some(user) = user.filter(|_| by != By::Source) {
                    let (outcome, client) = (LoginOutcome::Throttled, attempt.client);
                    self.stage_attempt(plan, user, outcome, Methods::NONE, client)?;
                    plan.notify(Event::of(user, EventKind::LoginThrottled(end)).from(client));
                }
            }
            Ok(first)
        })?;
        if !first {
            self.throttle.count_refusal(counts.refused_as(by));
        }
        Ok(denial)
    }
}

impl Counts {
    /// What the refusals in a delay are counted by.
    fn refused_as(&self, by: By) -> u64 {
        if by == By::Source { self.from } else { self.own }
    }
}

/// The former state with the mark that refusals were written down, if it has none yet; whether that is so.
fn stage_told(plan: &mut Plan<'_>, counts: &Counts, by: By) -> Result<bool> {
    let (store, batch) = (plan.store, &mut plan.batch);
    match by {
        By::Account => {
            let Some((user, party)) = counts.account else { return Ok(false) };
            let Some(old) = store::read::<AccountRecord>(store, &AccountRecord::key_of(user, party))? else {
                return Ok(false);
            };
            let Some(counter) = old.record.counter(counts.method).filter(|counter| !counter.told) else {
                return Ok(false);
            };
            let told = Counter { told: true, ..counter.clone() };
            batch.replace(&old, &old.record.with(counts.method, Some(told)))?;
            Ok(true)
        }
        By::Name => mark(store, batch, counts.name, |old: &Counted| {
            (!old.told).then(|| Counted { told: true, ..old.clone() })
        }),
        By::Pair => mark(store, batch, counts.pair, |old: &Counted| {
            (!old.told).then(|| Counted { told: true, ..old.clone() })
        }),
        By::Source => mark(store, batch, counts.source, |old: &SourceCount| {
            (!old.told).then(|| SourceCount { told: true, ..old.clone() })
        }),
    }
}

fn mark<E: Entry>(
    store: &dyn Store,
    batch: &mut store::Batch,
    place: Option<Place>,
    told: impl Fn(&E) -> Option<E>,
) -> Result<bool> {
    let Some(place) = place else { return Ok(false) };
    let Some(old) = RowRecord::<E>::read(store, place)? else { return Ok(false) };
    if old.record.find(place.tag).and_then(&told).is_none() {
        return Ok(false);
    }
    crate::throttle::stage_entry(store, batch, place, |old| old.and_then(&told))?;
    Ok(true)
}

fn entry<E: Entry>(store: &dyn Store, place: Option<Place>) -> Result<Option<E>> {
    let Some(place) = place else { return Ok(None) };
    Ok(RowRecord::<E>::read(store, place)?.and_then(|row| row.record.find(place.tag).cloned()))
}

/// Whether the last failure of a name from an address was not too long ago.
fn is_kept(pair: &Counted, now: Timestamp) -> bool {
    now.since(pair.last) < ThrottlePolicy::KEEP
}

fn is_of_this_hour(source: &SourceCount, now: Timestamp) -> bool {
    now.since(source.since) < ThrottlePolicy::HOUR
}

fn from_text(network: Option<Network>) -> String {
    network.map(|network| format!("; from {network}")).unwrap_or_default()
}
