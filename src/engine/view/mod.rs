//! The read model: every check is answered from here, without a lock and without touching storage.
//!
//! One writer at a time changes it, in the order in which changes became durable; readers see a change at the latest
//! when the call that made it returns. Each piece guards what it hands out with one word that is read before and
//! after: a user's cell with its tag, a session's line with its id, the sets that lines remember with the `epoch`, and
//! the bits of a set with the policy `version`. Where a reader finds that something moved under it, it asks once more
//! under the writer's lock, which nobody holds across I/O, so that no reader waits for a writer to finish writing down.

#[cfg(not(view_model))]
mod apply;
mod bits;
mod family;
mod flags;
mod keys;
mod lines;
mod notes;
mod pages;
mod pairs;
mod part;
mod policy;
mod review;
mod scoped;
mod segmented;
mod selection;
mod sets;
mod shards;
mod step;
mod sync;
mod tally;
mod time;
mod upkeep;
mod users;
mod wide;
mod write;

pub(crate) use flags::FlagSettings;
pub(crate) use keys::KeyLine;
pub(crate) use lines::{SessionHandle, SessionLine, Snapshot};
pub(crate) use notes::Note;
pub(crate) use part::{Holding, Part};
pub(crate) use policy::Policy;
pub(crate) use review::together;
pub(crate) use time::ViewTime;
pub(crate) use users::UserState;

use crate::error::Result;
use crate::id::{ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::session::is_of_era;
use flags::FlagStates;
use keys::Rates;
use lines::{Lines, Search, Spot};
use notes::Notes;
use pairs::Pairs;
use scoped::{Scoped, Turn};
use segmented::Segmented;
use sets::{Ask, Sets};
use step::{Step, step};
use sync::{AtomicU16, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, size};
use tally::Who;
use users::{Standing, UserCell};
use write::Writer;

/// The answer to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow,
    /// The permission is not held.
    Deny,
    /// The session is not live: never issued, revoked, expired, or its user may not log in any more.
    Gone,
    /// The view was stopped: nothing is known.
    Stopped,
}

/// A line that was found, to be read when the digest to compare with is at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    spot: Spot<'a>,
    id: u64,
}

impl Found<'_> {
    pub(crate) const fn handle(&self) -> SessionHandle {
        SessionHandle { id: self.id, page: self.spot.number, slot: self.spot.slot }
    }
}

/// The counters that every check reads and only writers write, on a line of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Counters {
    /// Which policy the sets' bits must be of.
    version: AtomicU64,
    /// Which state of the users the sets in session lines must be of.
    epoch: AtomicU32,
    /// Guards the tree of scopes and what is held at them.
    turn: Turn,
    /// Sessions of an earlier era have ended. It changes before the epoch does, so that no line remembers a set as of an
    /// epoch of a later era.
    era: AtomicU16,
}

/// The policy version and the epoch of a view that was stopped: no set and no line ever has them, so that every fast
/// path ends.
const STOPPED_VERSION: u64 = u64::MAX;
const STOPPED_EPOCH: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct View {
    counters: Counters,
    users: Segmented<UserCell, { size(4096, 4) }>,
    sets: Sets,
    scoped: Scoped,
    /// Under a set and a selection of roles, the set that the selection leaves of it.
    derived: Pairs,
    /// Under a selection and a scope, whether the scope is one of those that it is for.
    reach: Pairs,
    flags: FlagStates,
    lines: Lines,
    notes: Notes,
    rates: Rates,
    writer: Mutex<Writer>,
    why_stopped: OnceLock<String>,
}

impl View {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            counters: Counters {
                version: AtomicU64::new(1),
                epoch: AtomicU32::new(1),
                turn: Turn::default(),
                era: AtomicU16::new(0),
            },
            users: Segmented::new(),
            sets: Sets::new(),
            scoped: Scoped::new(),
            derived: Pairs::new(),
            reach: Pairs::new(),
            flags: FlagStates::new(),
            lines: Lines::new()?,
            notes: Notes::default(),
            rates: Rates::default(),
            writer: Mutex::new(Writer::new()),
            why_stopped: OnceLock::new(),
        })
    }

    /// True after [`stop`](Self::stop); what is not found then may well be there.
    pub(crate) fn is_stopped(&self) -> bool {
        self.counters.version.load(Ordering::Acquire) == STOPPED_VERSION
    }

    /// Does the user hold the permission?
    #[inline]
    pub(crate) fn check_user(&self, user: UserId, permission: Permission, now: ViewTime) -> Answer {
        self.ask_user(user, &Ask::One(permission), now)
    }

    /// Does the user hold the permission at the scope?
    #[inline]
    pub(crate) fn check_user_at(
        &self,
        user: UserId,
        permission: Permission,
        scope: ScopeId,
        now: ViewTime,
    ) -> Answer {
        match scope {
            ScopeId::ROOT => self.check_user(user, permission, now),
            _ => self.ask_user(user, &Ask::At(permission, scope), now),
        }
    }

    /// Does the user hold all of them at the scope at one moment?
    pub(crate) fn user_has_all_at(
        &self,
        user: UserId,
        permissions: &PermissionSet,
        scope: ScopeId,
        now: ViewTime,
    ) -> Answer {
        match scope {
            ScopeId::ROOT => self.user_has_all(user, permissions, now),
            _ => self.ask_user(user, &Ask::AllAt(permissions, scope), now),
        }
    }

    /// Does the user hold all of them at one moment?
    pub(crate) fn user_has_all(&self, user: UserId, permissions: &PermissionSet, now: ViewTime) -> Answer {
        self.ask_user(user, &Ask::All(permissions), now)
    }

    /// Looks for a session. The line itself is fetched while the caller goes on.
    #[inline]
    pub(crate) fn find(&self, id: SessionId) -> Option<Found<'_>> {
        let spot = match self.lines.search(id.get()) {
            Search::Hit(spot) => spot,
            Search::Miss => return None,
            Search::Unsure => self.find_locked(id.get())?,
        };
        Some(Found { spot, id: id.get() })
    }

    /// The session as it is now, with the digest to compare; none if it was removed since it was found.
    #[inline]
    pub(crate) fn read(&self, found: &Found<'_>) -> Option<Snapshot> {
        match found.spot.snapshot(found.id) {
            Some(snapshot) => Some(snapshot),
            None => self.read_locked(found.id),
        }
    }

    /// May the session be used, and does its user hold the permission?
    #[inline]
    pub(crate) fn check_session(
        &self,
        session: SessionHandle,
        permission: Permission,
        now: ViewTime,
    ) -> Answer {
        self.ask_session(session, &Ask::One(permission), now)
    }

    /// The same at a scope.
    #[inline]
    pub(crate) fn check_session_at(
        &self,
        session: SessionHandle,
        permission: Permission,
        scope: ScopeId,
        now: ViewTime,
    ) -> Answer {
        match scope {
            ScopeId::ROOT => self.check_session(session, permission, now),
            _ => self.ask_session(session, &Ask::At(permission, scope), now),
        }
    }

    /// The same for several permissions at one moment.
    pub(crate) fn session_has_all(
        &self,
        session: SessionHandle,
        permissions: &PermissionSet,
        now: ViewTime,
    ) -> Answer {
        self.ask_session(session, &Ask::All(permissions), now)
    }

    /// The same for several at a scope.
    pub(crate) fn session_has_all_at(
        &self,
        session: SessionHandle,
        permissions: &PermissionSet,
        scope: ScopeId,
        now: ViewTime,
    ) -> Answer {
        match scope {
            ScopeId::ROOT => self.session_has_all(session, permissions, now),
            _ => self.ask_session(session, &Ask::AllAt(permissions, scope), now),
        }
    }

    /// May the session be used?
    #[inline]
    pub(crate) fn session_live(&self, session: SessionHandle, now: ViewTime) -> Answer {
        self.ask_session(session, &Ask::Held, now)
    }

    /// The note on a session whose line says that there is one; none where the session has ended meanwhile.
    pub(crate) fn note(&self, session: SessionId) -> Option<Note> {
        self.notes.get(session.get())
    }

    /// Notes that the session was seen; at most one write a second for each session, none in storage.
    #[inline]
    pub(crate) fn touch(&self, session: SessionHandle, now: ViewTime) {
        let spot = self.lines.at(session.page, session.slot);
        if !spot.is_some_and(|spot| spot.touch(session.id, now)) {
            self.touch_moved(session.id, now);
        }
    }

    #[inline(always)]
    fn ask_user(&self, user: UserId, ask: &Ask<'_>, now: ViewTime) -> Answer {
        let version = self.counters.version.load(Ordering::Acquire);
        let Some(cell) = self.cell(user) else { return denial(version) };
        let reading = cell.read(now);
        match reading.standing {
            Standing::Refused => denial(version),
            Standing::Active | Standing::Lifted
                if let Some(held) = self.holds(user.get() as u32, reading.set(), || 0, ask, version, now)
                    && cell.unchanged(reading) =>
            {
                verdict(held)
            }
            _ => self.ask_user_locked(user, ask, now),
        }
    }

    /// Under the lock nothing but session lines changes; one answer is due, and it leaves the set refreshed.
    #[cold]
    #[inline(never)]
    fn ask_user_locked(&self, user: UserId, ask: &Ask<'_>, now: ViewTime) -> Answer {
        let mut writer = self.writer.lock();
        let version = self.counters.version.load(Ordering::Relaxed);
        if version == STOPPED_VERSION {
            return Answer::Stopped;
        }
        let Some(cell) = self.cell(user) else { return Answer::Deny };
        let reading = cell.read(now);
        match reading.standing {
            Standing::Active | Standing::Lifted => {
                let number = user.get() as u32;
                let who = Who { user: number, root: reading.set(), selection: 0 };
                self.refresh(&mut writer, who, ask, version, now);
                self.holds(number, reading.set(), || 0, ask, version, now).map_or(Answer::Deny, verdict)
            }
            Standing::Refused | Standing::Changing => Answer::Deny,
        }
    }

    #[inline(always)]
    fn ask_session(&self, session: SessionHandle, ask: &Ask<'_>, now: ViewTime) -> Answer {
        let version = self.counters.version.load(Ordering::Acquire);
        // Before the line: `Line` says why.
        let epoch = self.counters.epoch.load(Ordering::Acquire);
        if let Some(spot) = self.lines.at(session.page, session.slot)
            && let Some(facts) = spot.line.facts(session.id)
            && facts.epoch() == epoch
            && facts.live(now)
            && let Some(held) = self.holds(
                facts.user(),
                facts.set(),
                || self.sets.selection(facts.set()),
                ask,
                version,
                now,
            )
            && spot.line.still(session.id)
            // No active user changed since the line learned its set, so that the set was not given back either.
            && self.counters.epoch.load(Ordering::Relaxed) == epoch
        {
            return verdict(held);
        }
        self.ask_session_again(session, ask, now)
    }

    /// The line has moved, or it does not know its user's set at this epoch: ask the user's cell.
    #[cold]
    #[inline(never)]
    fn ask_session_again(&self, session: SessionHandle, ask: &Ask<'_>, now: ViewTime) -> Answer {
        let spot = self.lines.at(session.page, session.slot);
        let spot = spot.filter(|spot| spot.line.facts(session.id).is_some());
        let spot = match spot.map_or_else(|| self.lines.search(session.id), Search::Hit) {
            Search::Hit(spot) => Some(spot),
            Search::Miss if self.is_stopped() => return Answer::Stopped,
            Search::Miss => return Answer::Gone,
            Search::Unsure => None,
        };
        if let Some(answer) = spot.and_then(|spot| self.weigh(&spot, session.id, ask, now)) {
            return answer;
        }
        let mut writer = self.writer.lock();
        let version = self.counters.version.load(Ordering::Relaxed);
        if version == STOPPED_VERSION {
            return Answer::Stopped;
        }
        let Some(spot) = self.lines.probe(session.id) else { return Answer::Gone };
        if let Some(cell) = self.users.get(spot.user()) {
            let who =
                Who { user: spot.user(), root: cell.read(now).set(), selection: spot.aside().selection() };
            self.refresh(&mut writer, who, ask, version, now);
        }
        self.weigh(&spot, session.id, ask, now).unwrap_or(Answer::Deny)
    }

    /// The answer from the line and the user's cell, which the line then remembers; none if either moved meanwhile.
    fn weigh(&self, spot: &Spot<'_>, id: u64, ask: &Ask<'_>, now: ViewTime) -> Option<Answer> {
        let version = self.counters.version.load(Ordering::Acquire);
        // INVARIANT: the epoch is read before the line and before the cell. A change of the cell that is not seen below
        // ends this epoch, so that what is remembered as of it is then stale.
        let epoch = self.counters.epoch.load(Ordering::Acquire);
        if epoch == STOPPED_EPOCH {
            return Some(Answer::Stopped);
        }
        let facts = spot.line.facts(id)?;
        let aside = spot.aside();
        let (generation, selection) = (aside.generation(), aside.selection());
        step(Step::AsideRead);
        if !spot.line.still(id) || facts.frozen() {
            return None;
        }
        if !facts.live(now) {
            return Some(Answer::Gone);
        }
        let Some(cell) = self.users.get(facts.user()) else { return Some(Answer::Gone) };
        let reading = cell.read(now);
        match reading.standing {
            Standing::Refused => return Some(Answer::Gone),
            Standing::Changing => return None,
            Standing::Active | Standing::Lifted => {}
        }
        // A session may be ahead of its user for a moment: the one that is kept while all others end.
        let current = generation >= cell.generation()
            && is_of_era(aside.era(), self.counters.era.load(Ordering::Acquire));
        let turn = self.counters.turn.read();
        let set = match selection {
            0 => reading.set(),
            // Nothing was derived yet, or it is being changed.
            _ => Some(self.derived.table().get(reading.set(), selection))
                .filter(|set| turn.is_some() && *set != 0)?,
        };
        let held =
            if current { self.holds(facts.user(), set, || selection, ask, version, now)? } else { false };
        // The line was the session's before and after the cell was read: both held at one moment.
        if !cell.unchanged(reading) || !spot.line.still(id) {
            return None;
        }
        // The session had that selection all the time, and the selection its sets: both end with the epoch or the turn.
        if selection != 0
            && !(turn.is_some_and(|turn| self.counters.turn.still(turn))
                && self.counters.epoch.load(Ordering::Relaxed) == epoch)
        {
            return None;
        }
        if !current {
            // A line that is written over where it stands has the same id before and after, so that what was read of the
            // session may be older than what was read of the user. The session goes to a new generation first: whoever
            // sees the user's sees the session's here.
            return (spot.aside().generation() == generation).then_some(Answer::Gone);
        }
        if reading.standing == Standing::Active {
            step(Step::Remember);
            spot.line.remember(facts, set, epoch);
        }
        Some(verdict(held))
    }

    #[cold]
    #[inline(never)]
    fn find_locked(&self, id: u64) -> Option<Spot<'_>> {
        let _writer = self.writer.lock();
        self.lines.probe(id)
    }

    #[cold]
    #[inline(never)]
    fn read_locked(&self, id: u64) -> Option<Snapshot> {
        let _writer = self.writer.lock();
        self.lines.probe(id)?.snapshot(id)
    }

    #[cold]
    #[inline(never)]
    fn touch_moved(&self, id: u64, now: ViewTime) {
        let _writer = self.writer.lock();
        if let Some(spot) = self.lines.probe(id) {
            spot.touch(id, now);
        }
    }

    #[inline]
    fn cell(&self, user: UserId) -> Option<&UserCell> {
        self.users.get(u32::try_from(user.get()).ok()?)
    }
}

#[inline]
const fn verdict(held: bool) -> Answer {
    if held { Answer::Allow } else { Answer::Deny }
}

#[inline]
const fn denial(version: u64) -> Answer {
    if version == STOPPED_VERSION { Answer::Stopped } else { Answer::Deny }
}

#[cfg(test)]
mod gaps;
#[cfg(test)]
mod limiting;
#[cfg(view_model)]
pub(crate) mod model;
#[cfg(test)]
mod races;
#[cfg(test)]
mod selecting;
#[cfg(any(test, view_model))]
mod staging;
#[cfg(test)]
mod tests;
