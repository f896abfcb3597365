//! The entries that are kept, in one ring that all readers share.
//!
//! INVARIANT: its lock is held for as long as it takes to copy one entry in or out, or the few of one commit, and never
//! while anybody waits, so that no writer waits for a reader, however slow that is.

use super::{AccessChange, AccessChangeKind, ChangePosition, FeedItem};
use crate::engine::ending::Ends;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

pub(super) struct Ring {
    capacity: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<AccessChangeKind>,
    /// How many entries were dropped to make room: the number of the first one that is kept.
    dropped: u64,
    /// What positions of this open of the database begin with. None until somebody asks for changes: until then there is
    /// no position, so that nobody can miss an entry that is not made.
    instance: Option<u64>,
    closed: bool,
}

impl State {
    fn end(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    fn push(&mut self, kind: AccessChangeKind, capacity: usize) {
        if self.entries.len() >= capacity {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(kind);
    }
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: ChangePosition,
    /// The reader is to be told that it has missed something.
    pub(super) lost: bool,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default(), filled: Condvar::new() }
    }

    /// Whether entries are made.
    pub(super) fn records(&self) -> bool {
        self.state.lock().instance.is_some()
    }

    /// A place at the end. Entries are made from here on, and for good: who leaves may come back to where they were.
    pub(super) fn start(&self, instance: u64) -> Place {
        let mut state = self.state.lock();
        let instance = *state.instance.get_or_insert(instance);
        Place { at: ChangePosition { instance, number: state.end() }, lost: false }
    }

    /// The place after a position; at the end, and lost, where it is none of this ring's or no longer.
    pub(super) fn resume(&self, instance: u64, after: ChangePosition) -> Place {
        let end = self.start(instance);
        let known = after.instance == end.at.instance && after.number <= end.at.number;
        if known { Place { at: after, lost: false } } else { Place { lost: true, ..end } }
    }

    /// Adds what one commit changed. `recorded` is whether entries were made when the commit began to reach the view:
    /// somebody who came in between has seen the old state or the new one, and must ask again.
    pub(super) fn publish(&self, recorded: bool, kinds: Vec<AccessChangeKind>) {
        let mut state = self.state.lock();
        if state.instance.is_none() || state.closed {
            return;
        }
        let kinds = if recorded { kinds } else { vec![AccessChangeKind::Everything] };
        if kinds.is_empty() {
            return;
        }
        for kind in kinds {
            state.push(kind, self.capacity);
        }
        drop(state);
        self.filled.notify_all();
    }

    /// No more is to come, and the reader has had all that there is.
    pub(super) fn is_over(&self, place: Place) -> bool {
        let state = self.state.lock();
        state.closed && !place.lost && place.at.number == state.end()
    }

    pub(super) fn try_next(&self, place: &mut Place) -> Option<FeedItem> {
        take(&self.state.lock(), place)
    }

    pub(super) fn next_timeout(&self, place: &mut Place, patience: Duration) -> Option<FeedItem> {
        let mut state = self.state.lock();
        let standing = *place;
        let empty = |state: &mut State| !standing.lost && standing.at.number == state.end() && !state.closed;
        self.filled.wait_while_for(&mut state, empty, patience);
        take(&state, place)
    }

    pub(super) fn next(&self, place: &mut Place) -> Option<FeedItem> {
        let mut state = self.state.lock();
        loop {
            match take(&state, place) {
                None if !state.closed => self.filled.wait(&mut state),
                taken => return taken,
            }
        }
    }
}

fn take(state: &State, place: &mut Place) -> Option<FeedItem> {
    let number = place.at.number;
    if place.lost || number < state.dropped {
        // All that is kept is older than what the reader learns when it now asks anew.
        place.at.number = state.end();
        place.lost = false;
        return Some(FeedItem::Lost);
    }
    let index = usize::try_from(number - state.dropped).ok()?;
    let kind = *state.entries.get(index)?;
    place.at.number = number + 1;
    Some(FeedItem::Change(AccessChange { position: place.at, kind }))
}

impl Ends for Ring {
    /// There will be no more.
    fn end(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Ring")
            .field("capacity", &self.capacity)
            .field("entries", &state.entries.len())
            .field("dropped", &state.dropped)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(item: Option<FeedItem>) -> Option<AccessChangeKind> {
        match item? {
            FeedItem::Change(change) => Some(change.kind),
            FeedItem::Lost => None,
        }
    }

    #[test]
    fn who_begins_in_the_middle_of_a_commit_is_told_to_ask_for_everything() {
        let ring = Ring::new(4);
        ring.publish(false, Vec::new());
        let recorded = ring.records();
        assert!(!recorded);
        let mut place = ring.start(7);
        // The commit that began before it reaches the ring now; the view had it before or after the reader asked.
        ring.publish(recorded, Vec::new());
        assert_eq!(kind(ring.try_next(&mut place)), Some(AccessChangeKind::Everything));
        assert!(ring.records());
        ring.publish(true, Vec::new());
        assert_eq!(ring.try_next(&mut place), None);
    }

    #[test]
    fn the_first_reader_says_what_positions_begin_with() {
        let ring = Ring::new(4);
        let (first, second) = (ring.start(7), ring.start(8));
        assert_eq!(first.at, second.at);
        assert!(ring.resume(9, ChangePosition { instance: 9, number: 0 }).lost);
        assert!(!ring.resume(9, first.at).lost);
    }

    #[test]
    fn memory_is_bounded_whatever_readers_do() {
        let ring = Ring::new(4);
        let mut place = ring.start(7);
        for _ in 0..1000 {
            ring.publish(true, vec![AccessChangeKind::Everything; 3]);
        }
        let state = ring.state.lock();
        assert!(state.entries.len() == 4 && state.entries.capacity() < 16);
        assert_eq!(take(&state, &mut place), Some(FeedItem::Lost));
    }
}
