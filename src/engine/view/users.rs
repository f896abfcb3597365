//! One cell of 16 bytes for each user: may the user in, and with which set of roles.

use super::step::{Step, step};
use super::sync::{AtomicU32, AtomicU64, Ordering, fence};
use super::time::ViewTime;

/// Whether a user may use what was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserState {
    /// Yes.
    Active,
    /// No: disabled, pending, or locked without end.
    Refused,
    /// Not before this instant: locked for a time.
    RefusedUntil(ViewTime),
}

const ABSENT: u64 = 0;
const ACTIVE: u64 = 1;
const REFUSED: u64 = 2;
const REFUSED_UNTIL: u64 = 3;
/// The writer is between two states of more than one word; whoever must know asks under the lock.
const CHANGING: u64 = 4;
const STATE: u64 = 7;
/// The tag takes the bits between the state and the set number.
const TAG_ONE: u64 = STATE + 1;

/// A user's grant word: `set number (32) | tag (29) | state (3)`.
// INVARIANT: every change of the cell changes the tag, so that a reader that finds the word unchanged knows that the
// user held this very set all the time between, even if the set's number was given back and came to the user again.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub(super) struct UserCell {
    grant: AtomicU64,
    generation: AtomicU32,
    until: AtomicU32,
}

/// What one reading of a cell says; good for as long as [`UserCell::unchanged`] holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    word: u64,
    pub(super) standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    /// Active again because the lock ended; not to be remembered, as the clock may be set back.
    Lifted,
    Refused,
    Changing,
}

impl Reading {
    #[inline]
    pub(super) const fn set(self) -> u32 {
        (self.word >> 32) as u32
    }
}

impl UserCell {
    #[inline]
    pub(super) fn read(&self, now: ViewTime) -> Reading {
        let word = self.grant.load(Ordering::Acquire);
        let standing = match word & STATE {
            ACTIVE => Standing::Active,
            REFUSED_UNTIL => {
                let until = self.until.load(Ordering::Relaxed);
                match () {
                    () if !self.unchanged(Reading { word, standing: Standing::Changing }) => {
                        Standing::Changing
                    }
                    () if now.secs() >= until => Standing::Lifted,
                    () => Standing::Refused,
                }
            }
            CHANGING => Standing::Changing,
            _ => Standing::Refused,
        };
        Reading { word, standing }
    }

    /// True if nothing changed since the reading; call it after the last load that depends on the reading.
    #[inline]
    pub(super) fn unchanged(&self, reading: Reading) -> bool {
        // Whatever was read before this, if it was written after the cell changed (a reused set), was written after a
        // release operation that followed the change, so that the load below sees the change.
        fence(Ordering::Acquire);
        self.grant.load(Ordering::Relaxed) == reading.word
    }

    /// The session generation; to be followed by [`unchanged`](Self::unchanged).
    #[inline]
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    // What follows is for the writer, who is alone.

    /// The state (none for an absent user), generation and set number.
    pub(super) fn current(&self) -> (Option<UserState>, u32, u32) {
        let word = self.grant.load(Ordering::Relaxed);
        let state = match word & STATE {
            ACTIVE => Some(UserState::Active),
            REFUSED => Some(UserState::Refused),
            REFUSED_UNTIL => {
                Some(UserState::RefusedUntil(ViewTime::from_secs(self.until.load(Ordering::Relaxed))))
            }
            _ => None,
        };
        (state, self.generation.load(Ordering::Relaxed), (word >> 32) as u32)
    }

    /// Puts the state and generation; the set stays.
    pub(super) fn put_state(&self, state: Option<UserState>, generation: u32) {
        let word = self.grant.load(Ordering::Relaxed);
        let (code, until) = match state {
            None => (ABSENT, 0),
            Some(UserState::Active) => (ACTIVE, 0),
            Some(UserState::Refused) => (REFUSED, 0),
            Some(UserState::RefusedUntil(until)) => (REFUSED_UNTIL, until.secs()),
        };
        let set = word & !0xffff_ffff;
        let changing = set | next_tag(word) | CHANGING;
        self.grant.store(changing, Ordering::Relaxed);
        fence(Ordering::Release);
        step(Step::CellHalfWritten);
        self.generation.store(generation, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
        self.grant.store(set | next_tag(changing) | code, Ordering::Release);
    }

    /// Puts the set number; the state stays.
    pub(super) fn put_set(&self, set: u32) {
        let word = self.grant.load(Ordering::Relaxed);
        self.grant.store(u64::from(set) << 32 | next_tag(word) | word & STATE, Ordering::Release);
    }
}

const fn next_tag(word: u64) -> u64 {
    (word & 0xffff_ffff & !STATE).wrapping_add(TAG_ONE) & 0xffff_ffff & !STATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_changes_the_word_and_only_its_own_part() {
        assert_eq!(size_of::<UserCell>(), 16);
        let (cell, now) = (UserCell::default(), ViewTime::from_secs(100));
        assert_eq!(cell.read(now).standing, Standing::Refused);
        cell.put_set(7);
        let before = cell.read(now);
        cell.put_state(Some(UserState::Active), 3);
        assert!(!cell.unchanged(before));
        let active = cell.read(now);
        assert_eq!((active.set(), active.standing, cell.generation()), (7, Standing::Active, 3));
        cell.put_set(8);
        cell.put_set(7);
        assert!(!cell.unchanged(active), "the same set again is another word");
        cell.put_state(Some(UserState::RefusedUntil(ViewTime::from_secs(101))), 3);
        assert_eq!(cell.read(now).standing, Standing::Refused);
        assert_eq!(cell.read(ViewTime::from_secs(101)).standing, Standing::Lifted);
        assert_eq!(cell.current(), (Some(UserState::RefusedUntil(ViewTime::from_secs(101))), 3, 7));
        cell.put_state(None, 0);
        assert_eq!((cell.read(now).standing, cell.read(now).set()), (Standing::Refused, 7));
    }

    #[test]
    fn the_tag_wraps_without_touching_its_neighbours() {
        let cell = UserCell::default();
        cell.grant.store(9 << 32 | 0xffff_fff8 | ACTIVE, Ordering::Relaxed);
        cell.put_set(10);
        assert_eq!(cell.grant.load(Ordering::Relaxed), 10 << 32 | ACTIVE);
    }
}
