//! What the callers and the writer thread share: the queue, the answers, and the word "stopped".

use super::entry::Position;
use super::tables::Tables;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Batch, CommitError, Sink, Version};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A place for one answer, and somebody who waits for it.
pub(super) struct Slot<T> {
    answer: Mutex<Option<T>>,
    ready: Condvar,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(None), ready: Condvar::new() })
    }

    /// The first answer stays.
    pub(super) fn fill(&self, answer: T) {
        self.answer.lock().get_or_insert(answer);
        self.ready.notify_all();
    }

    pub(super) fn wait(&self, limit: Duration) -> Option<T> {
        let mut answer = self.answer.lock();
        self.ready.wait_while_for(&mut answer, |answer| answer.is_none(), limit);
        answer.take()
    }
}

pub(super) type Answer = Result<Version, CommitError>;

/// A batch that waits for its commit.
pub(super) struct Pending {
    pub(super) batch: Batch,
    /// Roughly its bytes in the journal.
    pub(super) weight: usize,
    pub(super) answer: Arc<Slot<Answer>>,
}

/// What one round of the writer thread may take together.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupLimit {
    pub(super) batches: usize,
    pub(super) weight: usize,
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    closing: bool,
}

pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Why the store stopped; set once.
    stopped: OnceLock<String>,
    /// The first one that stops the store tells the sink; the others wait until it knows.
    stopping: Mutex<()>,
    pub(super) sink: OnceLock<Arc<dyn Sink>>,
    /// Of the latest commit that readers can see.
    pub(super) position: RwLock<Position>,
    /// `None` once the store let go of its files.
    pub(super) tables: RwLock<Option<Arc<Tables>>>,
    /// The last word of the writer thread.
    pub(super) finished: Arc<Slot<Result<()>>>,
}

/// Why a store that was closed in good order refuses.
pub(super) const CLOSED: &str = "it was closed";

impl Shared {
    pub(super) fn new(tables: Arc<Tables>, position: Position) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            stopped: OnceLock::new(),
            stopping: Mutex::new(()),
            sink: OnceLock::new(),
            position: RwLock::new(position),
            tables: RwLock::new(Some(tables)),
            finished: Slot::new(),
        }
    }

    pub(super) fn running(&self) -> Result<()> {
        self.stopped.get().map_or(Ok(()), |why| Err(Error::stopped(why)))
    }

    pub(super) fn refusal(&self) -> Error {
        Error::stopped(self.stopped.get().map_or(CLOSED, String::as_str))
    }

    /// Ends all service: the sink hears of it before any waiter does.
    pub(super) fn stop(&self, why: &str) {
        let first = {
            let _one_at_a_time = self.stopping.lock();
            let first = self.stopped.set(why.to_owned()).is_ok();
            if first && let Some(sink) = self.sink.get() {
                sink.stop(why);
            }
            first
        };
        if first {
            let left = std::mem::take(&mut self.queue.lock().pending);
            for pending in left {
                pending.answer.fill(Err(self.refusal().into()));
            }
            self.wake.notify_all();
        }
    }

    pub(super) fn enqueue(&self, batch: Batch) -> Result<Arc<Slot<Answer>>> {
        let weight = weight(&batch);
        let answer = Slot::new();
        {
            let mut queue = self.queue.lock();
            // INVARIANT: whoever stops the store empties the queue afterwards, under this lock; so a batch that gets
            // in here is either taken by the writer thread or answered by the one who stops.
            self.running()?;
            if queue.closing {
                return Err(Error::stopped(CLOSED));
            }
            queue.pending.push_back(Pending { batch, weight, answer: Arc::clone(&answer) });
        }
        self.wake.notify_one();
        Ok(answer)
    }

    /// Asks the writer thread to end once the queue is empty.
    pub(super) fn ask_to_close(&self) {
        self.queue.lock().closing = true;
        self.wake.notify_all();
    }

    /// The next batches in their order; `None` when it is time to end.
    pub(super) fn next_group(&self, limit: GroupLimit) -> Option<Vec<Pending>> {
        let mut queue = self.queue.lock();
        self.wake.wait_while(&mut queue, |queue| {
            queue.pending.is_empty() && !queue.closing && self.stopped.get().is_none()
        });
        if self.stopped.get().is_some() {
            return None;
        }
        let mut group = Vec::new();
        let mut weight = 0;
        while let Some(next) = queue.pending.front() {
            weight += next.weight;
            if group.len() == limit.batches || (weight > limit.weight && !group.is_empty()) {
                break;
            }
            group.extend(queue.pending.pop_front());
        }
        (!group.is_empty()).then_some(group)
    }
}

/// No less than what the rows of a batch take in the journal.
fn weight(batch: &Batch) -> usize {
    const ROW: usize = 32;
    let writes = batch.writes.iter().map(|w| ROW + w.key.len() + w.value.as_ref().map_or(0, Vec::len));
    let appends = batch.appends.iter().map(|append| {
        let indexes: usize = append.indexes.iter().map(|(_, key)| ROW + key.len() + 16).sum();
        ROW + 8 + append.body.len() + indexes
    });
    writes.sum::<usize>() + appends.sum::<usize>()
}

/// The error of a change that may or may not have happened.
pub(super) fn unknown(why: &str) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        format!("nobody knows whether the change was made ({why}); open the database again to learn it"),
    )
}

/// The error of an operation of the operating system.
pub(super) fn failed(what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("could not {what} ({cause})")).caused_by(cause)
}
