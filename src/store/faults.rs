//! Fault points: a test makes the n-th write of a kind fail, and sees what the store does about it.

use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Where a storage operation can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    not(any(feature = "sled", feature = "testing")),
    expect(dead_code, reason = "points of the sled backend")
)]
pub enum FaultPoint {
    /// The write of a journal entry: half of it reaches the file.
    JournalWrite,
    /// The sync that makes a journal entry durable: all of it is in the file, and nobody knows whether on the disk.
    JournalSync,
    /// Taking a durable journal entry over into the tables.
    Apply,
    /// The checkpoint that empties the journal, when it is full and when the database is closed.
    Checkpoint,
    /// A commit of the in-memory store.
    MemoryCommit,
}

/// A plan of failures, shared by all its clones. The default never fails.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<(FaultPoint, u64)>>>);

#[cfg(feature = "testing")]
impl Faults {
    /// A plan in which nothing fails yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` hit of a point from now fail with an I/O error, 1 being the next one. Several failures may
    /// be planned; each happens once.
    pub fn fail(&self, point: FaultPoint, nth: u64) {
        self.0.lock().push((point, nth.max(1)));
    }

    /// True while a planned failure has not happened yet.
    #[must_use]
    pub fn pending(&self) -> bool {
        !self.0.lock().is_empty()
    }
}

impl Faults {
    /// Counts one hit of a point, and fails if it is the one that was planned.
    pub(crate) fn hit(&self, point: FaultPoint) -> io::Result<()> {
        let mut plan = self.0.lock();
        let mut due = false;
        plan.retain_mut(|(at, left)| {
            if *at == point {
                *left -= 1;
            }
            due |= *left == 0;
            *left > 0
        });
        if due { Err(io::Error::other(format!("injected fault at {point:?}"))) } else { Ok(()) }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&*self.0.lock()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_hit_fails_once_and_other_points_do_not_count() {
        let faults = Faults::new();
        let shared = faults.clone();
        shared.fail(FaultPoint::Apply, 2);
        assert!(faults.hit(FaultPoint::Apply).is_ok());
        assert!(faults.hit(FaultPoint::JournalSync).is_ok());
        assert!(faults.pending());
        assert!(faults.hit(FaultPoint::Apply).is_err());
        assert!(faults.hit(FaultPoint::Apply).is_ok() && !shared.pending());
    }
}
