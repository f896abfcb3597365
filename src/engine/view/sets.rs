//! Interned sets of what users hold: many users share few, so that the bits of all of them stay in the cache.

use super::bits::Bits;
use super::flags::{FlagAsk, FlagWords};
use super::lines::pair;
use super::part::{self, Part};
use super::policy::Policy;
use super::segmented::Segmented;
use super::selection::{Choice, SCOPED};
use super::step::{Step, step};
use super::sync::{AtomicU32, AtomicU64, Ordering, fence, size};
use super::time::ViewTime;
use super::wide::Wide;
use crate::error::{Error, Result};
use crate::id::{Flag, ScopeId};
use crate::permission::{Permission, PermissionSet};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Words in the entry itself: with the version and the window they fill one cache line.
const NEAR: usize = size(6, 2);
/// Sets in a leaf of each of the arrays.
const LEAF: usize = size(256, 4);
/// The stamp of a set whose bits nobody has worked out.
const NO_STAMP: u64 = 0;

/// What is asked of a set of permissions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    /// Nothing: it is enough that the set is held.
    Held,
    One(Permission),
    All(&'a PermissionSet),
    /// One at a scope below the global one.
    At(Permission, ScopeId),
    AllAt(&'a PermissionSet, ScopeId),
    /// A feature flag, at a scope or everywhere: [`View::flag_holds`](super::View) answers it.
    Flag(FlagAsk<'a>),
}

/// What one set says of a permission, or of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    Allow,
    Silent,
    /// Whatever other sets say.
    Deny,
}

/// The permission bits of one set of parts, as they are under a policy version and for a span of time.
// INVARIANT: `stamp` is stored after the words that belong to it and is `NO_STAMP` while they change.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Entry {
    /// `policy version (62) | turns any flag on or off (1) | denies anything (1)`.
    stamp: AtomicU64,
    /// `first second (32) | second after the last (32)`.
    window: AtomicU64,
    /// What is allowed and not denied by the set itself.
    near: [AtomicU64; NEAR],
}

/// A guard over one reading of an entry.
#[derive(Clone, Copy)]
struct Reading {
    stamp: u64,
    window: u64,
}

impl Reading {
    const fn denies(self) -> bool {
        self.stamp & 1 == 1
    }

    const fn flagged(self) -> bool {
        self.stamp & 2 == 2
    }
}

impl Entry {
    /// None if the bits are of another policy version or another time.
    #[inline]
    fn begin(&self, version: u64, now: ViewTime) -> Option<Reading> {
        let stamp = self.stamp.load(Ordering::Acquire);
        let window = self.window.load(Ordering::Relaxed);
        let (first, end) = ((window >> 32) as u32, window as u32);
        (stamp >> 2 == version && first <= now.secs() && now.secs() < end)
            .then_some(Reading { stamp, window })
    }

    /// True if the words that were read since are all of that reading. A later version of one word alone is as good: it
    /// took effect while this ran.
    #[inline]
    fn still(&self, reading: Reading) -> bool {
        fence(Ordering::Acquire);
        self.stamp.load(Ordering::Relaxed) == reading.stamp
            && self.window.load(Ordering::Relaxed) == reading.window
    }

    /// Stores the near bits of a policy version and a span of time; for the writer, who is alone.
    fn store(&self, words: &[u64], stamp: u64, window: (u32, u32), far: impl FnOnce()) {
        self.stamp.store(NO_STAMP, Ordering::Relaxed);
        fence(Ordering::Release);
        let mut rest = words.iter().copied();
        for cell in &self.near {
            cell.store(rest.next().unwrap_or(0), Ordering::Release);
        }
        far();
        self.window.store(pair(window.0, window.1), Ordering::Relaxed);
        self.stamp.store(stamp, Ordering::Release);
    }
}

/// The readers' side: entries by number. Number 0 is the set of nothing.
#[derive(Debug)]
pub(super) struct Sets {
    entries: Segmented<Entry, LEAF>,
    /// What of the allowed does not fit into the entry.
    far: Segmented<Wide, LEAF>,
    /// What is denied, for questions that several sets answer together.
    denied: Segmented<Wide, LEAF>,
    /// What is allowed, of a set that was derived for some scopes only; its entry and `far` say that nothing is. So whoever
    /// asks without a scope, and does not know of the limit, is told no.
    inner: Segmented<Wide, LEAF>,
    /// Of a set that a selection left, the selection; 0 for all others.
    selections: Segmented<AtomicU32, LEAF>,
    /// Which flags are turned on or off, where any is.
    flags: Segmented<FlagWords, { size(64, 1) }>,
}

impl Sets {
    pub(super) fn new() -> Self {
        Self {
            entries: Segmented::new(),
            far: Segmented::new(),
            denied: Segmented::new(),
            inner: Segmented::new(),
            selections: Segmented::new(),
            flags: Segmented::new(),
        }
    }

    /// The selection that left this set; good if the holder still has the set afterwards.
    #[inline]
    pub(super) fn selection(&self, set: u32) -> u32 {
        self.selections.get(set).map_or(0, |selection| selection.load(Ordering::Acquire))
    }

    #[inline]
    fn word(&self, set: u32, entry: &Entry, index: usize) -> u64 {
        match entry.near.get(index) {
            Some(word) => word.load(Ordering::Acquire),
            None => self.far.get(set).map_or(0, |far| far.word(index)),
        }
    }

    /// The answer under the policy of that version at that time; none if the set's bits are of another one.
    ///
    /// A set's number may be given to other roles while this runs: the caller checks afterwards that the holder it
    /// got the number from still has it. The loads here are acquiring, so that this check sees the change.
    // Always, so that the kind of question is settled when this is compiled.
    #[inline(always)]
    pub(super) fn holds(&self, set: u32, ask: &Ask<'_>, version: u64, now: ViewTime) -> Option<bool> {
        step(Step::CellRead);
        let held = self.read(set, ask, version, now);
        step(Step::SetRead);
        held
    }

    #[inline(always)]
    fn read(&self, set: u32, ask: &Ask<'_>, version: u64, now: ViewTime) -> Option<bool> {
        match ask {
            Ask::Held => Some(true),
            Ask::One(permission) | Ask::At(permission, _) => {
                let entry = self.entries.get(set)?;
                entry.begin(version, now)?;
                Some(self.word(set, entry, permission.word()) & permission.mask() != 0)
            }
            Ask::All(wanted) | Ask::AllAt(wanted, _) => {
                let entry = self.entries.get(set)?;
                let reading = entry.begin(version, now)?;
                let mut pairs = wanted.words().iter().enumerate();
                let held = pairs.all(|(index, word)| {
                    let held = self.word(set, entry, index) & word == *word;
                    step(Step::WordRead);
                    held
                });
                // Words of two versions make no answer.
                entry.still(reading).then_some(held)
            }
            Ask::Flag(..) => Some(false),
        }
    }

    /// What this set has to say where several answer together. The caller checks afterwards that the version is still
    /// the same, and that the holder still has the number. `scoped` is whether the set was derived for some scopes only.
    #[inline]
    pub(super) fn vote(
        &self,
        set: u32,
        permission: Permission,
        scoped: bool,
        version: u64,
        now: ViewTime,
    ) -> Option<Vote> {
        let entry = self.entries.get(set)?;
        let reading = entry.begin(version, now)?;
        let word = match scoped {
            true => self.inner.get(set)?.word(permission.word()),
            false => self.word(set, entry, permission.word()),
        };
        let allows = word & permission.mask() != 0;
        let denies = reading.denies()
            && self.denied.get(set).is_some_and(|wide| wide.word(permission.word()) & permission.mask() != 0);
        entry.still(reading).then_some(match (denies, allows) {
            (true, _) => Vote::Deny,
            (false, true) => Vote::Allow,
            (false, false) => Vote::Silent,
        })
    }

    /// What this set has to say of a flag; as [`vote`](Self::vote).
    #[inline(always)]
    pub(super) fn flag_vote(&self, set: u32, flag: Flag, version: u64, now: ViewTime) -> Option<Vote> {
        let entry = self.entries.get(set)?;
        let reading = entry.begin(version, now)?;
        let (on, off) = match reading.flagged() {
            true => self.flags.get(set)?.words(flag.word()),
            false => (0, 0),
        };
        entry.still(reading).then_some(match (off & flag.mask() != 0, on & flag.mask() != 0) {
            (true, _) => Vote::Deny,
            (false, true) => Vote::Allow,
            (false, false) => Vote::Silent,
        })
    }

    pub(super) fn bytes(&self, interner: &Interner) -> usize {
        fn wide<const N: usize>(wide: &Segmented<Wide, N>, interner: &Interner) -> usize {
            let numbers = (0..=u32::MAX).take(interner.sets.len());
            wide.bytes() + numbers.filter_map(|set| wide.get(set)).map(Wide::bytes).sum::<usize>()
        }
        let numbers = (0..=u32::MAX).take(interner.sets.len());
        let flags: usize = numbers.filter_map(|set| self.flags.get(set)).map(FlagWords::far_bytes).sum();
        let words = wide(&self.far, interner) + wide(&self.denied, interner) + wide(&self.inner, interner);
        self.entries.bytes() + words + self.selections.bytes() + self.flags.bytes() + flags
    }
}

#[derive(Debug)]
struct Interned {
    parts: Arc<[Part]>,
    holders: u32,
    /// Of a derived set, which selection it was derived for; else 0.
    selection: u32,
}

/// The writer's side: what a number stands for, and how often it is held.
// INVARIANT: `numbers` has exactly the sets with holders that were not derived, and set 0.
#[derive(Debug)]
pub(super) struct Interner {
    sets: Vec<Interned>,
    numbers: HashMap<Arc<[Part]>, u32>,
    /// Used oldest first, so that a number rests before it is used again.
    free: VecDeque<u32>,
    bits: Bits,
}

impl Interner {
    pub(super) fn new() -> Self {
        let none: Arc<[Part]> = Arc::new([]);
        Self {
            sets: vec![Interned { parts: none.clone(), holders: 0, selection: 0 }],
            numbers: HashMap::from([(none, 0)]),
            free: VecDeque::new(),
            bits: Bits::default(),
        }
    }

    /// How many distinct sets there are, that of no roles among them.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The parts of a set, in rising order.
    pub(super) fn parts(&self, set: u32) -> &[Part] {
        self.sets.get(set as usize).map_or(&[], |set| &set.parts)
    }

    /// The number for these parts (in rising order, each holding once), with one more holder.
    pub(super) fn hold(&mut self, sets: &Sets, parts: &[Part]) -> Result<u32> {
        if let Some(&number) = self.numbers.get(parts) {
            if let Some(set) = self.sets.get_mut(number as usize) {
                set.holders += 1;
            }
            return Ok(number);
        }
        let parts: Arc<[Part]> = parts.into();
        let number = self.allocate(sets, Interned { parts: parts.clone(), holders: 1, selection: 0 })?;
        self.numbers.insert(parts, number);
        Ok(number)
    }

    /// A number for what a selection leaves of a set, with one holder: the table of what was derived.
    pub(super) fn hold_derived(&mut self, sets: &Sets, set: u32, selection: u32) -> Result<u32> {
        let parts = self.sets.get(set as usize).map_or_else(|| Arc::new([]) as _, |set| set.parts.clone());
        self.allocate(sets, Interned { parts, holders: 1, selection })
    }

    fn allocate(&mut self, sets: &Sets, set: Interned) -> Result<u32> {
        let number = match self.free.front() {
            Some(number) => *number,
            None => {
                u32::try_from(self.sets.len()).map_err(|_| Error::limit("roles", "too many role sets"))?
            }
        };
        let entry = sets.entries.grow_to(number)?;
        if set.selection != 0 {
            sets.selections.grow_to(number)?;
        }
        self.free.pop_front();
        if let Some(selection) = sets.selections.get(number) {
            selection.store(set.selection, Ordering::Release);
        }
        // The bits are worked out at the first question: a load of a million users asks none.
        entry.stamp.store(NO_STAMP, Ordering::Release);
        match self.sets.get_mut(number as usize) {
            Some(place) => *place = set,
            None => self.sets.push(set),
        }
        Ok(number)
    }

    /// The selection that a set was derived for.
    pub(super) fn selection(&self, set: u32) -> u32 {
        self.sets.get(set as usize).map_or(0, |set| set.selection)
    }

    /// Takes one holder away; a set without holders gives its number back. True if it did.
    ///
    /// The caller has already published that the holder has another set: to readers by user through the cell's tag,
    /// to readers by session through the epoch.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let Some(set) = self.sets.get_mut(number as usize) else { return false };
        set.holders = set.holders.saturating_sub(1);
        if set.holders > 0 || number == 0 {
            return false;
        }
        if set.selection == 0 {
            self.numbers.remove(&set.parts);
        }
        set.parts = Arc::new([]);
        self.free.push_back(number);
        true
    }

    /// Works out the bits of a set under the policy as it is, for the time that is. `choice` is what it was derived for.
    pub(super) fn refresh(
        &mut self,
        sets: &Sets,
        policy: &mut Policy,
        number: u32,
        choice: Option<&Choice>,
        version: u64,
        now: ViewTime,
    ) {
        let Ok(entry) = sets.entries.grow_to(number) else { return };
        if entry.begin(version, now).is_some() {
            return;
        }
        let mut bits = std::mem::take(&mut self.bits);
        let parts = self.parts(number);
        policy.bits_into(parts, choice, now, &mut bits);
        let denies = bits.denied.iter().any(|word| *word != 0);
        let scoped = self.selection(number) & SCOPED != 0;
        let shown: &[u64] = if scoped { &[] } else { &bits.allowed };
        let far = (shown.len() > NEAR || sets.far.get(number).is_some_and(Wide::is_used))
            .then(|| sets.far.grow_to(number));
        let inner = scoped.then(|| sets.inner.grow_to(number));
        let denied = denies.then(|| sets.denied.grow_to(number));
        let flags = bits.flagged().then(|| sets.flags.grow_to(number));
        // A set whose words have no place is not marked as worked out: it answers nothing, and nobody is let in.
        if !matches!(far, Some(Err(_)))
            && !matches!(denied, Some(Err(_)))
            && !matches!(inner, Some(Err(_)))
            && !matches!(flags, Some(Err(_)))
        {
            let stamp = version << 2 | u64::from(bits.flagged()) << 1 | u64::from(denies);
            entry.store(shown, stamp, part::window(parts, now), || {
                if let Some(Ok(far)) = far {
                    far.store(shown);
                }
                if let Some(Ok(inner)) = inner {
                    inner.store(&bits.allowed);
                }
                if let Some(Ok(denied)) = denied {
                    denied.store(&bits.denied);
                }
                if let Some(Ok(flags)) = flags {
                    flags.store(&bits.on, &bits.off);
                }
            });
        }
        self.bits = bits;
    }

    /// Bytes of the lists and the table, estimated from their lengths.
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.sets.iter().map(|set| 16 + size_of_val(&*set.parts)).sum();
        lists + self.sets.capacity() * size_of::<Interned>() + self.numbers.capacity() * 8 / 7 * 25
    }
}

#[cfg(test)]
mod tests {
    use super::super::wide::FAR_FIRST;
    use super::*;

    const NOW: ViewTime = ViewTime::from_secs(5);

    fn put(sets: &Sets, number: u32, words: &[u64], version: u64) {
        let far = sets.far.grow_to(number).unwrap();
        let entry = sets.entries.grow_to(number).unwrap();
        entry.store(words, version << 2, (0, u32::MAX), || {
            if words.len() > NEAR || far.is_used() {
                far.store(words);
            }
        });
    }

    #[test]
    fn an_entry_is_one_cache_line_and_holds_any_bit() {
        assert_eq!(size_of::<Entry>(), 64);
        let (sets, limit) = (Sets::new(), Permission::LIMIT);
        for bits in [vec![0, 383], vec![384], vec![1023, 1024, 4095, 4096, 70_000], vec![limit - 1], vec![3]]
        {
            let set: PermissionSet = bits.iter().map(|bit| Permission::from_bit(*bit)).collect();
            put(&sets, 1, set.words(), 9);
            for bit in [0, 3, 63, 383, 384, 1023, 1024, 4095, 4096, 70_000, limit - 1, limit, u32::MAX] {
                let held = sets.holds(1, &Ask::One(Permission::from_bit(bit)), 9, NOW);
                assert_eq!(held, Some(bits.contains(&bit)), "{bit} of {bits:?}");
            }
            assert_eq!(sets.holds(1, &Ask::All(&set), 9, NOW), Some(true));
            assert_eq!(sets.holds(1, &Ask::All(&set), 8, NOW), None);
            let more = [Permission::from_bit(5)].into_iter().chain(set.iter()).collect();
            assert_eq!(sets.holds(1, &Ask::All(&more), 9, NOW), Some(false));
        }
    }

    #[test]
    fn a_narrow_set_pays_nothing_for_the_width_of_others() {
        let sets = Sets::new();
        put(&sets, 1, &[u64::MAX; NEAR], 1);
        assert_eq!(sets.far.get(1).unwrap().bytes(), 0);
        put(&sets, 1, &[u64::MAX; FAR_FIRST], 2);
        assert!(sets.far.get(1).unwrap().bytes() < 300);
    }

    #[test]
    fn numbers_are_shared_counted_and_used_again() {
        let role = |number| Part::role(crate::id::RoleId::from_number(number));
        let (sets, mut interner) = (Sets::new(), Interner::new());
        assert_eq!(interner.hold(&sets, &[]).unwrap(), 0);
        let one = interner.hold(&sets, &[role(1)]).unwrap();
        assert_eq!(interner.hold(&sets, &[role(1)]).unwrap(), one);
        let both = interner.hold(&sets, &[role(1), role(2)]).unwrap();
        assert_ne!(one, both);
        assert!(!interner.release(one));
        assert_eq!(interner.parts(one), [role(1)]);
        assert!(interner.release(one));
        assert_eq!(interner.len(), 2);
        assert_eq!(interner.hold(&sets, &[role(3)]).unwrap(), one);
        assert_eq!(interner.parts(one), [role(3)]);
    }
}
