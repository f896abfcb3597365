//! Feature flags in the read model: one word a flag for its state, the sets that permissions are answered from for its
//! rules, and one more set a scope for what everybody has there.
//!
//! A question reads the flag's word first and looks at it again last: in between, the user's holdings, the policy and
//! the tree are read under the guards of a check. So state, rules and user are of one moment.

use super::lines::SessionHandle;
use super::part::{Holding, Part};
use super::segmented::Segmented;
use super::sets::{Ask, Vote};
use super::step::{Step, step};
use super::sync::{AtomicU32, AtomicU64, Ordering, fence, size};
use super::tally::Who;
use super::wide::Wide;
use super::{Answer, View, ViewTime, denial};
use crate::error::{Error, Result};
use crate::flag::{FlagRecord, FlagState, FlagTarget};
use crate::grant::Grant;
use crate::id::{Flag, RoleId, ScopeId, UserId};
use crate::scope::MAX_DEPTH;

#[cfg(test)]
mod tests;

/// Words in the cache line itself: 256 flags.
const NEAR: usize = 4;

/// Which flags a set turns on, and which off; only sets that turn any have this.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct FlagWords {
    on: [AtomicU64; NEAR],
    off: [AtomicU64; NEAR],
    far: [Wide; 2],
}

impl FlagWords {
    /// The words at that place: on, off.
    #[inline]
    pub(super) fn words(&self, index: usize) -> (u64, u64) {
        match (self.on.get(index), self.off.get(index)) {
            (Some(on), Some(off)) => (on.load(Ordering::Acquire), off.load(Ordering::Acquire)),
            _ => {
                let [on, off] = &self.far;
                (on.word(index), off.word(index))
            }
        }
    }

    /// For the writer, who is alone and has unmarked the set.
    pub(super) fn store(&self, on: &[u64], off: &[u64]) {
        for (near, words) in [(&self.on, on), (&self.off, off)] {
            let mut rest = words.iter().copied();
            for cell in near {
                cell.store(rest.next().unwrap_or(0), Ordering::Release);
            }
        }
        for (far, words) in self.far.iter().zip([on, off]) {
            if words.len() > NEAR || far.is_used() {
                far.store(words);
            }
        }
    }

    pub(super) fn far_bytes(&self) -> usize {
        self.far.iter().map(Wide::bytes).sum()
    }
}

/// What of a flag's record decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlagSettings {
    state: FlagState,
    default: bool,
    percentage: u16,
}

impl FlagSettings {
    pub(crate) const fn of(record: &FlagRecord) -> Self {
        Self { state: record.state, default: record.default, percentage: record.percentage }
    }
}

/// `tag (32) | unused (15) | percentage (14) | default (1) | mode (2)`.
// INVARIANT: every change of a flag changes the tag, so that a reader that finds the word unchanged knows that the flag
// was so all the time between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

const ABSENT: u64 = 0;
const OFF: u64 = 1;
const ON: u64 = 2;
const TARGETED: u64 = 3;
const MODE: u64 = 3;
const DEFAULT: u64 = 4;
const PERCENTAGE_BIT: u32 = 3;
const PERCENTAGE: u64 = 0x3fff;
const TAG_BIT: u32 = 32;
const SETTINGS: u64 = (1 << TAG_BIT) - 1;

impl Word {
    #[inline]
    fn read(place: &AtomicU64) -> Self {
        Self(place.load(Ordering::Acquire))
    }

    /// The word for a flag, or for none, without a tag.
    const fn of(settings: Option<FlagSettings>) -> u64 {
        let Some(settings) = settings else { return ABSENT };
        let mode = match settings.state {
            FlagState::Off => OFF,
            FlagState::On => ON,
            FlagState::Targeted => TARGETED,
        };
        let default = if settings.default { DEFAULT } else { 0 };
        mode | default | (settings.percentage as u64 & PERCENTAGE) << PERCENTAGE_BIT
    }

    const fn mode(self) -> u64 {
        self.0 & MODE
    }

    /// What it is for whom no rule applies to.
    #[inline]
    const fn by_chance(self, flag: Flag, user: u32) -> bool {
        let percentage = (self.0 >> PERCENTAGE_BIT & PERCENTAGE) as u16;
        percentage > 0 && flag.bucket(UserId::from_number(user as u64)) < percentage || self.0 & DEFAULT != 0
    }
}

/// Which flag is asked for, where, and the flag's word, which is looked up once.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagAsk<'a> {
    flag: Flag,
    pub(super) scope: ScopeId,
    place: &'a AtomicU64,
}

/// The state of each flag by its number, and the set of what everybody has at each scope below the global one.
#[derive(Debug)]
pub(super) struct FlagStates {
    words: Segmented<AtomicU64, { size(512, 1) }>,
    /// Guarded by the turn, as what users hold at scopes is.
    everybody: Segmented<AtomicU32, { size(1024, 1) }>,
    count: AtomicU64,
}

impl FlagStates {
    pub(super) fn new() -> Self {
        Self { words: Segmented::new(), everybody: Segmented::new(), count: AtomicU64::new(0) }
    }

    /// The word of a flag; none where no flag near it was ever defined.
    #[inline]
    fn place(&self, flag: Flag) -> Option<&AtomicU64> {
        self.words.get(flag.get())
    }

    /// The number of the set of what everybody has at a scope.
    #[inline]
    pub(super) fn everybody(&self, scope: u32) -> u32 {
        self.everybody.get(scope).map_or(0, |set| set.load(Ordering::Relaxed))
    }
}

impl View {
    /// Is the flag on for the user, at the scope or everywhere?
    #[inline]
    pub(crate) fn flag_of_user(&self, flag: Flag, user: UserId, scope: ScopeId, now: ViewTime) -> Answer {
        match (self.maybe_on(flag, scope), scope) {
            // Apart, so that this is compiled without the way up.
            (Some(ask), ScopeId::ROOT) => {
                self.ask_user(user, &Ask::Flag(FlagAsk { scope: ScopeId::ROOT, ..ask }), now)
            }
            (Some(ask), _) => self.ask_user(user, &Ask::Flag(ask), now),
            (None, _) => denial(self.counters.version.load(Ordering::Acquire)),
        }
    }

    /// The same for the user of a session that may be used.
    #[inline]
    pub(crate) fn flag_of_session(
        &self,
        flag: Flag,
        session: SessionHandle,
        scope: ScopeId,
        now: ViewTime,
    ) -> Answer {
        match (self.maybe_on(flag, scope), scope) {
            (Some(ask), ScopeId::ROOT) => {
                self.ask_session(session, &Ask::Flag(FlagAsk { scope: ScopeId::ROOT, ..ask }), now)
            }
            (Some(ask), _) => self.ask_session(session, &Ask::Flag(ask), now),
            (None, _) => denial(self.counters.version.load(Ordering::Acquire)),
        }
    }

    /// The question, unless the flag is off for everybody, or not there: then nothing else needs to be read.
    #[inline]
    fn maybe_on(&self, flag: Flag, scope: ScopeId) -> Option<FlagAsk<'_>> {
        let place = self.flags.place(flag)?;
        (Word::read(place).mode() > OFF).then_some(FlagAsk { flag, scope, place })
    }

    /// The answer for a user who holds this set at the global scope; none if some set was not worked out, or if anything
    /// moved. Whether the user still holds the set is for the caller to check afterwards.
    // Inlined like `holds`, which calls it.
    #[inline(always)]
    pub(super) fn flag_holds(
        &self,
        who: Who,
        ask: &FlagAsk<'_>,
        version: u64,
        now: ViewTime,
    ) -> Option<bool> {
        step(Step::CellRead);
        let word = Word::read(ask.place);
        step(Step::FlagRead);
        let held = match ask.scope {
            ScopeId::ROOT => self.flag_everywhere(who, ask.flag, word, version, now)?,
            _ => {
                let turn = self.counters.turn.read()?;
                let held = self.flag_at(who, ask, word, version, now)?;
                self.counters.turn.still(turn).then_some(held)?
            }
        };
        step(Step::SetRead);
        // What was read since, if it was written after the flag or the policy changed, shows that change here.
        fence(Ordering::Acquire);
        let same = Word::read(ask.place) == word && self.counters.version.load(Ordering::Relaxed) == version;
        same.then_some(held)
    }

    #[inline(always)]
    fn flag_everywhere(&self, who: Who, flag: Flag, word: Word, version: u64, now: ViewTime) -> Option<bool> {
        let Who { user, root: set, .. } = who;
        Some(match word.mode() {
            ON => true,
            // Set 0 is that of nothing, and has nothing to say.
            TARGETED if set == 0 => word.by_chance(flag, user),
            TARGETED => match self.sets.flag_vote(set, flag, version, now)? {
                Vote::Deny => false,
                Vote::Allow => true,
                Vote::Silent => word.by_chance(flag, user),
            },
            _ => false,
        })
    }

    /// The votes of all levels from the scope up, of the user and of everybody: one that turns the flag off decides.
    #[inline]
    fn flag_at(&self, who: Who, ask: &FlagAsk<'_>, word: Word, version: u64, now: ViewTime) -> Option<bool> {
        if word.mode() <= OFF {
            return Some(false);
        }
        let (flag, table) = (ask.flag, self.scoped.table());
        let (mut level, mut on) = (ask.scope.get(), word.mode() == ON);
        let rules = !on;
        step(Step::TreeRead);
        for _ in 0..=MAX_DEPTH {
            if rules {
                let sets = match level {
                    0 => [who.root, 0],
                    _ => [self.held_at(who, table, level)?, self.flags.everybody(level)],
                };
                for set in sets.into_iter().filter(|set| *set != 0) {
                    match self.sets.flag_vote(set, flag, version, now)? {
                        Vote::Deny => return Some(false),
                        Vote::Allow => on = true,
                        Vote::Silent => {}
                    }
                }
            }
            step(Step::LevelRead);
            if level == 0 {
                return Some(on || word.by_chance(flag, who.user));
            }
            // At a scope that is not there, or lies in one that is not, no flag is on.
            let Some(parent) = self.scoped.parent(level) else { return Some(false) };
            level = parent;
        }
        Some(false)
    }

    /// Puts a flag as it is set, or takes it away.
    pub(crate) fn put_flag(&self, flag: Flag, settings: Option<FlagSettings>) -> Result<()> {
        let _writer = self.writer.lock();
        if flag.get() >= Flag::LIMIT {
            return Err(Error::limit("flag", format!("{flag} is beyond the last one")));
        }
        let place = self.flags.words.grow_to(flag.get())?;
        let (former, new) = (Word(place.load(Ordering::Relaxed)), Word::of(settings));
        if former.0 & SETTINGS == new {
            return Ok(());
        }
        let count = self.flags.count.load(Ordering::Relaxed);
        let count = count + u64::from(settings.is_some()) - u64::from(former.mode() != ABSENT);
        self.flags.count.store(count, Ordering::Relaxed);
        let tag = (former.0 >> TAG_BIT).wrapping_add(1) << TAG_BIT;
        place.store(tag | new, Ordering::Release);
        Ok(())
    }

    /// Puts a rule of a flag, or takes it away, whether or not anything that it names is there yet.
    pub(crate) fn put_rule(
        &self,
        flag: Flag,
        target: FlagTarget,
        scope: ScopeId,
        terms: Option<&Grant>,
    ) -> Result<()> {
        if flag.get() >= Flag::LIMIT {
            return Err(Error::limit("flag", format!("{flag} is beyond the last one")));
        }
        let holding = Holding::Permission(flag.bit());
        let part = terms.map(|terms| Part::new(holding, terms));
        match (target, part) {
            (FlagTarget::User(user), Some(part)) => self.assign(user, scope, part),
            (FlagTarget::User(user), None) => self.unassign(user, scope, holding),
            (FlagTarget::Scope(_), part) => self.put_everybody(scope, holding, part),
            (FlagTarget::Role(role), _) => {
                let mut writer = self.writer.lock();
                let done = writer.policy.put_flag(role, flag, terms.map(|terms| terms.effect));
                self.end_version();
                done
            }
        }
    }

    /// Changes what everybody has at a scope.
    fn put_everybody(&self, scope: ScopeId, holding: Holding, part: Option<Part>) -> Result<()> {
        let mut writer = self.writer.lock();
        let place = self.flags.everybody.grow_to(scope.get())?;
        let former = place.load(Ordering::Relaxed);
        let mut parts = writer.interner.parts(former).to_vec();
        parts.retain(|part| part.holding != holding);
        if let Some(part) = part {
            let at = parts.partition_point(|other| other.holding < holding);
            parts.insert(at, part);
        }
        if parts == writer.interner.parts(former) {
            return Ok(());
        }
        let set = if parts.is_empty() { 0 } else { writer.interner.hold(&self.sets, &parts)? };
        self.counters.turn.change(|| place.store(set, Ordering::Relaxed));
        // INVARIANT: after the turn, so that no reader takes the number's next parts for these.
        if former != 0 {
            self.release(&mut writer, former);
        }
        Ok(())
    }

    // What follows is for comparing, and for figures.

    /// Whether the view says of a flag what the record says.
    pub(crate) fn agrees_on_flag(&self, record: &FlagRecord) -> bool {
        let _writer = self.writer.lock();
        let word = self.flags.place(record.flag).map_or(ABSENT, |place| Word::read(place).0);
        word & SETTINGS == Word::of(Some(FlagSettings::of(record)))
    }

    /// The flags that a role turns on, and those that it turns off, with what it inherits.
    pub(crate) fn flags_of_role(&self, role: RoleId) -> [Vec<Flag>; 2] {
        self.writer.lock().policy.flags_of_role(role)
    }

    /// What everybody has at a scope, in rising order.
    pub(crate) fn parts_of_everybody(&self, scope: ScopeId) -> Vec<Part> {
        let writer = self.writer.lock();
        writer.interner.parts(self.flags.everybody(scope.get())).to_vec()
    }

    /// How many flags there are, and the bytes for their states and what everybody has at scopes.
    pub(crate) fn flag_stats(&self) -> (u64, usize) {
        let bytes = self.flags.words.bytes() + self.flags.everybody.bytes();
        (self.flags.count.load(Ordering::Relaxed), bytes)
    }
}

const _: () = assert!(crate::flag::WHOLE as u64 <= PERCENTAGE);
