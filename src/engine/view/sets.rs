//! Interned role sets: many users share few, so that the permission bits of all of them stay in the cache.

use super::policy::Policy;
use super::segmented::Segmented;
use crate::error::{Error, Result};
use crate::id::RoleId;
use crate::permission::{Permission, PermissionSet};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// Words in the entry itself: with the version and the pointer they fill one cache line.
const NEAR: usize = 5;
/// The tiers of a wider set end at 16, 64, .. 16,384 words, the last one at [`Permission::LIMIT`].
const FAR_FIRST: usize = 16;
const FAR_TIERS: usize = 6;
const _: () = assert!(FAR_FIRST << (2 * (FAR_TIERS - 1)) == Permission::LIMIT as usize / 64);

/// The version of a set whose bits nobody has worked out.
pub(super) const NO_VERSION: u64 = 0;

/// What is asked of a set of permissions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    /// Nothing: it is enough that the set is held.
    Held,
    One(Permission),
    All(&'a PermissionSet),
}

/// All words up to the tier's end; absent for as long as they are empty.
type Tier = OnceLock<Box<[AtomicU64]>>;

/// The permission bits of one role set, as they are under the policy of `version`.
// INVARIANT: `version` is stored after the words that belong to it and is `NO_VERSION` while they change.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Entry {
    version: AtomicU64,
    near: [AtomicU64; NEAR],
    far: OnceLock<Box<[Tier; FAR_TIERS]>>,
}

impl Entry {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        match self.near.get(index) {
            Some(word) => word.load(Ordering::Acquire),
            None => self.far_word(index),
        }
    }

    fn far_word(&self, index: usize) -> u64 {
        self.far_cell(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn far_cell(&self, index: usize) -> Option<&AtomicU64> {
        self.far.get()?.get(far_tier(index))?.get()?.get(index)
    }

    /// Stores the bits of a policy version; for the writer, who is alone.
    fn store(&self, words: &[u64], version: u64) {
        self.version.store(NO_VERSION, Ordering::Relaxed);
        fence(Ordering::Release);
        let mut rest = words.iter().copied();
        for cell in &self.near {
            cell.store(rest.next().unwrap_or(0), Ordering::Release);
        }
        if words.len() > NEAR || self.far.get().is_some() {
            let tiers = self.far.get_or_init(Box::default);
            let mut start = NEAR;
            for (end, tier) in (0..).map(|n| FAR_FIRST << (2 * n)).zip(tiers.iter()) {
                let span = words.get(start..words.len().min(end)).unwrap_or_default();
                if tier.get().is_some() || span.iter().any(|word| *word != 0) {
                    let cells = tier.get_or_init(|| (0..end).map(|_| AtomicU64::new(0)).collect());
                    let padded = span.iter().copied().chain(std::iter::repeat(0));
                    for (cell, word) in cells.iter().skip(start).zip(padded) {
                        cell.store(word, Ordering::Release);
                    }
                }
                start = end;
            }
        }
        self.version.store(version, Ordering::Release);
    }

    fn far_bytes(&self) -> usize {
        self.far.get().map_or(0, |tiers| {
            let cells: usize = tiers.iter().filter_map(OnceLock::get).map(|cells| cells.len()).sum();
            size_of_val(&**tiers) + cells * size_of::<AtomicU64>()
        })
    }
}

/// The tier that has a word: counted, as `Segmented` says why the highest bit is not asked for.
fn far_tier(index: usize) -> usize {
    (0..FAR_TIERS).filter(|tier| index >= FAR_FIRST << (2 * tier)).count()
}

/// The readers' side: entries by number. Number 0 is the set of no roles.
#[derive(Debug)]
pub(super) struct Sets {
    entries: Segmented<Entry, 256>,
}

impl Sets {
    pub(super) fn new() -> Self {
        Self { entries: Segmented::new() }
    }

    /// The answer under the policy of that version; none if the set's bits are of another one.
    ///
    /// A set's number may be given to other roles while this runs: the caller checks afterwards that the holder it
    /// got the number from still has it. The loads here are acquiring, so that this check sees the change.
    // Always, so that the kind of question is settled when this is compiled.
    #[inline(always)]
    pub(super) fn holds(&self, set: u32, ask: &Ask<'_>, version: u64) -> Option<bool> {
        match ask {
            Ask::Held => Some(true),
            Ask::One(permission) => {
                let entry = self.entries.get(set)?;
                // The word may already be of a later version, which is as good: it took effect while this ran.
                (entry.version.load(Ordering::Acquire) == version)
                    .then(|| entry.word(permission.word()) & permission.mask() != 0)
            }
            Ask::All(wanted) => {
                let entry = self.entries.get(set)?;
                if entry.version.load(Ordering::Acquire) != version {
                    return None;
                }
                let mut pairs = wanted.words().iter().enumerate();
                let held = pairs.all(|(index, word)| entry.word(index) & word == *word);
                // Words of two versions make no answer.
                fence(Ordering::Acquire);
                (entry.version.load(Ordering::Relaxed) == version).then_some(held)
            }
        }
    }

    pub(super) fn bytes(&self, interner: &Interner) -> usize {
        let far = (0..=u32::MAX).map_while(|set| self.entries.get(set)).take(interner.sets.len());
        self.entries.bytes() + far.map(Entry::far_bytes).sum::<usize>()
    }
}

#[derive(Debug)]
struct Interned {
    roles: Arc<[RoleId]>,
    holders: u32,
}

/// The writer's side: which roles a number stands for, and how many users hold it.
// INVARIANT: `numbers` has exactly the sets with holders, and set 0.
#[derive(Debug)]
pub(super) struct Interner {
    sets: Vec<Interned>,
    numbers: HashMap<Arc<[RoleId]>, u32>,
    /// Used oldest first, so that a number rests before it is used again.
    free: VecDeque<u32>,
    words: Vec<u64>,
}

impl Interner {
    pub(super) fn new() -> Self {
        let none: Arc<[RoleId]> = Arc::new([]);
        Self {
            sets: vec![Interned { roles: none.clone(), holders: 0 }],
            numbers: HashMap::from([(none, 0)]),
            free: VecDeque::new(),
            words: Vec::new(),
        }
    }

    /// How many distinct sets there are, that of no roles among them.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The roles of a set, in rising order.
    pub(super) fn roles(&self, set: u32) -> &[RoleId] {
        self.sets.get(set as usize).map_or(&[], |set| &set.roles)
    }

    /// The number for these roles (in rising order, each once), with one more holder.
    pub(super) fn hold(&mut self, sets: &Sets, roles: &[RoleId]) -> Result<u32> {
        if let Some(&number) = self.numbers.get(roles) {
            if let Some(set) = self.sets.get_mut(number as usize) {
                set.holders += 1;
            }
            return Ok(number);
        }
        let set = Interned { roles: roles.into(), holders: 1 };
        let number = match self.free.front() {
            Some(number) => *number,
            None => {
                u32::try_from(self.sets.len()).map_err(|_| Error::limit("roles", "too many role sets"))?
            }
        };
        let entry = sets.entries.grow_to(number)?;
        self.free.pop_front();
        // The bits are worked out at the first question: a load of a million users asks none.
        entry.version.store(NO_VERSION, Ordering::Release);
        self.numbers.insert(set.roles.clone(), number);
        match self.sets.get_mut(number as usize) {
            Some(place) => *place = set,
            None => self.sets.push(set),
        }
        Ok(number)
    }

    /// Takes one holder away; a set without holders gives its number back.
    ///
    /// The caller has already published that the holder has another set: to readers by user through the cell's tag,
    /// to readers by session through the epoch.
    pub(super) fn release(&mut self, number: u32) {
        let Some(set) = self.sets.get_mut(number as usize) else { return };
        set.holders = set.holders.saturating_sub(1);
        if set.holders == 0 && number != 0 {
            self.numbers.remove(&set.roles);
            set.roles = Arc::new([]);
            self.free.push_back(number);
        }
    }

    /// Works out the bits of a set under the policy as it is.
    pub(super) fn refresh(&mut self, sets: &Sets, policy: &mut Policy, number: u32, version: u64) {
        let Ok(entry) = sets.entries.grow_to(number) else { return };
        if entry.version.load(Ordering::Relaxed) == version {
            return;
        }
        let mut words = std::mem::take(&mut self.words);
        policy.union_into(self.roles(number), &mut words);
        entry.store(&words, version);
        self.words = words;
    }

    /// Bytes of the lists and the table, estimated from their lengths.
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.sets.iter().map(|set| 16 + size_of_val(&*set.roles)).sum();
        lists + self.sets.capacity() * size_of::<Interned>() + self.numbers.capacity() * 8 / 7 * 25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_cache_line_and_holds_any_bit() {
        assert_eq!(size_of::<Entry>(), 64);
        let (sets, mut interner) = (Sets::new(), Interner::new());
        let number = interner.hold(&sets, &[RoleId::from_number(1)]).unwrap();
        let entry = sets.entries.get(number).unwrap();
        let limit = Permission::LIMIT;
        for bits in [vec![0, 319], vec![320], vec![1023, 1024, 4095, 4096, 70_000], vec![limit - 1], vec![3]]
        {
            let set: PermissionSet = bits.iter().map(|bit| Permission::from_bit(*bit)).collect();
            entry.store(set.words(), 9);
            for bit in [0, 3, 63, 319, 320, 1023, 1024, 4095, 4096, 70_000, limit - 1, limit, u32::MAX] {
                let held = sets.holds(number, &Ask::One(Permission::from_bit(bit)), 9);
                assert_eq!(held, Some(bits.contains(&bit)), "{bit} of {bits:?}");
            }
            assert_eq!(sets.holds(number, &Ask::All(&set), 9), Some(true));
            assert_eq!(sets.holds(number, &Ask::All(&set), 8), None);
            let more = [Permission::from_bit(5)].into_iter().chain(set.iter()).collect();
            assert_eq!(sets.holds(number, &Ask::All(&more), 9), Some(false));
        }
    }

    #[test]
    fn a_narrow_set_pays_nothing_for_the_width_of_others() {
        let (sets, mut interner) = (Sets::new(), Interner::new());
        let number = interner.hold(&sets, &[RoleId::from_number(1)]).unwrap();
        let entry = sets.entries.get(number).unwrap();
        entry.store(&[u64::MAX; NEAR], 1);
        assert_eq!(entry.far_bytes(), 0);
        entry.store(&[u64::MAX; FAR_FIRST], 2);
        assert!(entry.far_bytes() < 300, "{}", entry.far_bytes());
    }

    #[test]
    fn numbers_are_shared_counted_and_used_again() {
        let role = RoleId::from_number;
        let (sets, mut interner) = (Sets::new(), Interner::new());
        assert_eq!(interner.hold(&sets, &[]).unwrap(), 0);
        let one = interner.hold(&sets, &[role(1)]).unwrap();
        assert_eq!(interner.hold(&sets, &[role(1)]).unwrap(), one);
        let both = interner.hold(&sets, &[role(1), role(2)]).unwrap();
        assert_ne!(one, both);
        interner.release(one);
        assert_eq!(interner.roles(one), [role(1)]);
        interner.release(one);
        assert_eq!(interner.len(), 2);
        assert_eq!(interner.hold(&sets, &[role(3)]).unwrap(), one);
        assert_eq!(interner.roles(one), [role(3)]);
    }
}
