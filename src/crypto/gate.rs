//! Admission: how many password hashes run at once, how many may wait, and for how long.

use crate::error::{Error, ErrorKind, Result};
use argon2::Block;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Bounds concurrent hashes and lends each one a block of memory that is used again and again: faulting in fresh
/// pages costs more than a tenth of the hash itself.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    freed: Condvar,
    permits: usize,
    queue: usize,
    patience: Duration,
}

struct State {
    running: usize,
    waiting: usize,
    idle: Vec<Vec<Block>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("running", &self.running)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// The right to run one hash, and the memory for it. Gives both back when dropped.
pub(super) struct Permit<'g> {
    gate: &'g Gate,
    blocks: Vec<Block>,
}

impl Gate {
    pub(super) fn new(permits: usize, queue: usize, patience: Duration) -> Self {
        let state = State { running: 0, waiting: 0, idle: Vec::new() };
        Self { state: Mutex::new(state), freed: Condvar::new(), permits: permits.max(1), queue, patience }
    }

    /// Waits for a permit, no longer than the gate's patience and only if the queue has room.
    pub(super) fn enter(&self) -> Result<Permit<'_>> {
        let mut state = self.state.lock();
        if state.running >= self.permits {
            if state.waiting >= self.queue {
                return Err(busy("the queue for password hashing is full"));
            }
            state.waiting += 1;
            let timed_out = self
                .freed
                .wait_while_for(&mut state, |state| state.running >= self.permits, self.patience)
                .timed_out();
            state.waiting -= 1;
            if timed_out && state.running >= self.permits {
                return Err(busy("no password hash finished within the waiting limit"));
            }
        }
        state.running += 1;
        let blocks = state.idle.pop().unwrap_or_default();
        Ok(Permit { gate: self, blocks })
    }
}

fn busy(what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("{what}; try again later"))
}

impl Permit<'_> {
    /// At least so many blocks of 1 KiB. What is in them is the last user's leavings: Argon2 overwrites them all.
    pub(super) fn memory(&mut self, blocks: usize) -> &mut [Block] {
        if self.blocks.len() < blocks {
            self.blocks.resize(blocks, Block::default());
        }
        &mut self.blocks
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.running -= 1;
        state.idle.push(std::mem::take(&mut self.blocks));
        drop(state);
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_beyond_the_queue_and_admits_again() {
        let gate = Gate::new(1, 0, Duration::from_secs(5));
        let mut held = gate.enter().unwrap();
        assert_eq!(held.memory(8).len(), 8);
        assert_eq!(gate.enter().err().unwrap().kind(), ErrorKind::Busy);
        drop(held);
        let again = gate.enter().unwrap();
        assert_eq!(again.blocks.len(), 8, "memory is used again");
    }

    #[test]
    fn a_waiter_gives_up_after_its_patience() {
        let gate = Gate::new(1, 1, Duration::from_millis(1));
        let _held = gate.enter().unwrap();
        assert_eq!(gate.enter().err().unwrap().kind(), ErrorKind::Busy);
    }

    #[test]
    fn never_more_than_the_permits_run() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let (gate, running, most) =
            (Gate::new(2, 64, Duration::from_secs(60)), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = gate.enter().unwrap();
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 2);
        assert!(gate.state.lock().idle.len() <= 2);
    }
}
