//! Admission: how many password hashes run at once and with how much memory, how many may wait, for how long, and whose
//! turn it is.
//!
//! `queue` has the rules and knows neither threads nor clocks; `memory` keeps what hashes worked in; this module lets
//! threads wait, `entering` tasks. `pass` has the permit that a thread holds for its whole call, `trial` the call that must
//! not wait for one.

#[cfg(feature = "tokio")]
mod entering;
mod links;
mod memory;
#[cfg(feature = "tokio")]
mod pass;
mod queue;
mod source;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio")]
pub(crate) mod trial;

/// Without asynchronous calls nobody is on trial.
#[cfg(not(feature = "tokio"))]
pub(crate) mod trial {
    pub(crate) const fn turns_back() -> bool {
        false
    }

    pub(crate) const fn commits() {}
}

#[cfg(feature = "tokio")]
pub(crate) use entering::Entering;
pub(crate) use queue::Limits;
pub(crate) use source::Source;

use crate::clock;
use crate::error::{Error, Result};
use argon2::Block;
use memory::Memory;
use parking_lot::Mutex;
use queue::{Arrival, Queue, Refusal};
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::task::Waker;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Bounds concurrent hashes, and lends each one its memory.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    limits: Limits,
    started: Instant,
}

#[derive(Debug)]
struct State {
    queue: Queue<Wake, Vec<Block>>,
    memory: Memory,
}

/// How to tell a waiter that it has an answer.
#[derive(Debug)]
enum Wake {
    Thread(Thread),
    #[cfg(feature = "tokio")]
    Task(Waker),
}

impl Wake {
    fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            #[cfg(feature = "tokio")]
            Self::Task(task) => task.wake(),
        }
    }
}

/// The right to run one hash in so many blocks. Gives both back when dropped, also by a panic.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    blocks: usize,
    memory: Vec<Block>,
    since: Duration,
    /// False once it was given back.
    held: bool,
}

/// What the admission gate for password hashes does and has done since the database was opened; get it from
/// [`Portcullis::admission`](crate::Portcullis::admission).
///
/// Whoever asked for a hash was admitted, refused, displaced, timed out or abandoned, or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// Hashes that run now.
    pub running: usize,
    /// The most that ever ran at once.
    pub peak_running: usize,
    /// Who waits now.
    pub waiting: usize,
    /// The most that ever waited at once.
    pub peak_waiting: usize,
    /// Sources that wait now.
    pub sources: usize,
    /// Those who got in, at once or after waiting.
    pub admitted: u64,
    /// Those turned away because the queue was full.
    pub refused_full: u64,
    /// Those turned away because their source had its share of the queue already.
    pub refused_share: u64,
    /// Those who waited and lost their place to a source with fewer waiters.
    pub displaced: u64,
    /// Those who waited to the end of their patience.
    pub timed_out: u64,
    /// Those who went away while they waited: asynchronous calls that were dropped.
    pub abandoned: u64,
    /// The longest wait that ended with getting in.
    pub longest_wait: Duration,
    /// All waits that ended with getting in, added up.
    pub total_wait: Duration,
    /// Bytes of memory that hashes work in or that is kept for the next ones.
    pub bytes: u64,
    /// The most of them that there ever was.
    pub peak_bytes: u64,
    /// The most of them that there may be.
    pub most_bytes: u64,
}

const BLOCK: u64 = 1024;

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let memory = Memory::new(limits.hashes, limits.blocks);
        let state = State { queue: Queue::new(limits), memory };
        Arc::new(Self { state: Mutex::new(state), limits, started: clock::stopwatch() })
    }

    /// A hash for that source in so many blocks, once its turn has come. On a thread that was let in already, it runs on
    /// the permit which that one holds.
    pub(super) fn admit<T>(
        self: &Arc<Self>,
        source: Source,
        blocks: usize,
        hash: impl FnOnce(&mut Permit) -> T,
    ) -> Result<T> {
        #[cfg(feature = "tokio")]
        if let Some(permit) = pass::take(self) {
            let mut permit = if blocks > permit.blocks { permit.exchange(blocks)? } else { permit };
            let done = hash(&mut permit);
            pass::put(permit);
            return Ok(done);
        }
        // What can never run says so at once.
        self.check(blocks)?;
        self.not_on_trial()?;
        self.enter(source, blocks).map(|mut permit| hash(&mut permit))
    }

    /// Turns a call back that is not to wait, also where there is a free permit: it belongs to who waits as a task.
    pub(super) fn not_on_trial(&self) -> Result<()> {
        if trial::turns_back() {
            return Err(self.busy(Refusal::Trial));
        }
        Ok(())
    }

    /// Waits for a permit, no longer than the gate's patience and only if the queue has room.
    pub(super) fn enter(self: &Arc<Self>, source: Source, blocks: usize) -> Result<Permit> {
        self.check(blocks)?;
        let arrival = self.arrive(source, blocks, || Wake::Thread(std::thread::current()));
        match arrival {
            Arrival::Admitted(memory) => Ok(self.permit(blocks, memory)),
            Arrival::Refused(why) => Err(self.busy(why)),
            Arrival::Waiting(ticket, displaced) => {
                self.made_room(displaced);
                self.wait(ticket, blocks)
            }
        }
    }

    pub(crate) fn figures(&self) -> Admission {
        let state = self.state.lock();
        let (queue, memory, figures) = (&state.queue, &state.memory, state.queue.figures());
        let bytes = |blocks: usize| (blocks as u64).saturating_mul(BLOCK);
        Admission {
            running: queue.running(),
            peak_running: figures.peak_running,
            waiting: queue.waiting(),
            peak_waiting: figures.peak_waiting,
            sources: queue.sources(),
            admitted: figures.admitted,
            refused_full: figures.refused_full,
            refused_share: figures.refused_share,
            displaced: figures.displaced,
            timed_out: figures.timed_out,
            abandoned: figures.abandoned,
            longest_wait: figures.longest_wait,
            total_wait: figures.total_wait,
            bytes: bytes(memory.blocks()),
            peak_bytes: bytes(memory.peak_blocks()),
            most_bytes: bytes(self.limits.blocks),
        }
    }

    /// Why a hash in so many blocks can never run, if it can not: what asks for more than there is in all would wait for
    /// ever.
    pub(super) fn too_large(&self, blocks: usize) -> Option<String> {
        let most = self.limits.blocks;
        (blocks > most).then(|| {
            format!(
                "asks for {blocks} KiB of memory, and the admission gate has {most} KiB for all hashes together; \
                 give it more with Builder::admission_memory"
            )
        })
    }

    pub(super) fn check(&self, blocks: usize) -> Result<()> {
        match self.too_large(blocks) {
            None => Ok(()),
            Some(why) => Err(Error::limit("admission_memory", format!("the password hash {why}"))),
        }
    }

    fn arrive(
        &self,
        source: Source,
        blocks: usize,
        wake: impl FnOnce() -> Wake,
    ) -> Arrival<Wake, Vec<Block>> {
        loop {
            let mut state = self.state.lock();
            let State { queue, memory } = &mut *state;
            let now = self.started.elapsed();
            // Who has waited too long takes nobody's place.
            if let Some(expired) = queue.expire(now) {
                drop(state);
                expired.wake();
                continue;
            }
            return queue.arrive(now, source, blocks, wake, |blocks| memory.lend(blocks));
        }
    }

    fn made_room(&self, displaced: Option<Wake>) {
        if let Some(displaced) = displaced {
            displaced.wake();
            self.settle();
        }
    }

    /// Answers all waiters that can be answered, and wakes each of them with no lock held.
    fn settle(&self) {
        loop {
            let mut state = self.state.lock();
            let State { queue, memory } = &mut *state;
            let Some(woken) = queue.settle(self.started.elapsed(), |blocks| memory.lend(blocks)) else {
                return;
            };
            drop(state);
            woken.wake();
        }
    }

    /// Blocks the thread until the ticket is answered.
    fn wait(self: &Arc<Self>, ticket: usize, blocks: usize) -> Result<Permit> {
        let end = self.started.elapsed().saturating_add(self.limits.patience);
        loop {
            let mut state = self.state.lock();
            match state.queue.take(ticket) {
                Some(Ok(memory)) => {
                    drop(state);
                    return Ok(self.permit(blocks, memory));
                }
                Some(Err(why)) => {
                    drop(state);
                    return Err(self.busy(why));
                }
                None => {}
            }
            let now = self.started.elapsed();
            if now >= end {
                // It began to wait before `end` was computed, and so did whoever came earlier.
                let expired = state.queue.expire(now);
                drop(state);
                if let Some(expired) = expired {
                    expired.wake();
                    self.settle();
                }
                continue;
            }
            drop(state);
            std::thread::park_timeout(end.saturating_sub(now));
        }
    }

    fn permit(self: &Arc<Self>, blocks: usize, memory: Vec<Block>) -> Permit {
        Permit { gate: Arc::clone(self), blocks, memory, since: self.started.elapsed(), held: true }
    }

    fn give_back(&self, blocks: usize, memory: Vec<Block>, lasted: Duration) {
        let mut state = self.state.lock();
        state.queue.finish(blocks, Some(lasted));
        state.memory.give_back(blocks, memory);
        drop(state);
        self.settle();
    }

    fn busy(&self, why: Refusal) -> Error {
        let what = match why {
            Refusal::Share => "too many password hashes of this source wait already",
            Refusal::Full => "the queue for password hashing is full",
            Refusal::Displaced => {
                "the queue for password hashing is full, and a source with fewer in it was preferred"
            }
            Refusal::Trial => "a password hash is to be computed",
            Refusal::Patience => "no password hash finished within the waiting limit",
        };
        let backlog = self.state.lock().queue.backlog();
        Error::busy(format!("{what}; try again later"), backlog.unwrap_or(UNKNOWN_BACKLOG))
    }
}

/// What is said of the time to wait before any hash has finished.
const UNKNOWN_BACKLOG: Duration = Duration::from_secs(1);

impl Permit {
    /// Memory to work in. What is in it is the last user's leavings: Argon2 overwrites it all. INVARIANT: no more blocks
    /// are asked for than the permit was given for.
    pub(super) fn memory(&mut self, blocks: usize) -> &mut [Block] {
        if self.memory.len() < blocks {
            // Freed first, or there would be both for a moment.
            self.free_memory();
            self.memory = vec![Block::default(); blocks];
        }
        self.memory.get_mut(..blocks).unwrap_or_default()
    }

    /// Frees the memory, for a hash that allocates as much by itself in its place.
    pub(super) fn free_memory(&mut self) {
        self.memory = Vec::new();
    }

    /// Gives this permit back and waits for one with more blocks, before all who wait in line.
    #[cfg(feature = "tokio")]
    fn exchange(mut self, blocks: usize) -> Result<Self> {
        let gate = Arc::clone(&self.gate);
        gate.check(blocks)?;
        let arrival = {
            let mut state = gate.state.lock();
            let State { queue, memory } = &mut *state;
            queue.finish(self.blocks, None);
            memory.give_back(self.blocks, std::mem::take(&mut self.memory));
            self.held = false;
            let wake = || Wake::Thread(std::thread::current());
            queue.urge(gate.started.elapsed(), blocks, wake, |blocks| memory.lend(blocks))
        };
        gate.settle();
        match arrival {
            Arrival::Admitted(memory) => Ok(gate.permit(blocks, memory)),
            Arrival::Refused(why) => Err(gate.busy(why)),
            Arrival::Waiting(ticket, _) => gate.wait(ticket, blocks),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.held {
            let lasted = self.gate.started.elapsed().saturating_sub(self.since);
            self.gate.give_back(self.blocks, std::mem::take(&mut self.memory), lasted);
        }
    }
}
