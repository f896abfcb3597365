//! Delivery of events: to queues that never make anybody wait, and to the application's own functions.
//!
//! No function of the application is called while a lock is held, and none can stop a change: it is committed before
//! anybody hears of it.

use super::Event;
use crate::engine::Portcullis;
use crate::error::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Most events that one subscriber may let wait.
const MOST_WAITING: usize = 65_536;

/// What a subscriber reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// Something happened.
    Event(Event),
    /// So many events were dropped here because the subscriber did not keep up: the ones that come next are newer.
    Lost(u64),
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
    closed: bool,
}

impl Waiting {
    fn take(&mut self) -> Option<Notification> {
        match std::mem::take(&mut self.lost) {
            0 => self.events.pop_front().map(Notification::Event),
            lost => Some(Notification::Lost(lost)),
        }
    }
}

struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    capacity: usize,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock();
        if waiting.events.len() >= self.capacity {
            waiting.events.pop_front();
            waiting.lost = waiting.lost.saturating_add(1);
        }
        waiting.events.push_back(event);
        self.filled.notify_one();
    }

    fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_all();
    }
}

/// Events as they come, from [`Portcullis::subscribe`]; dropping it ends the subscription.
///
/// It is an iterator that waits for the next one, and ends when the database is closed, by
/// [`close`](Portcullis::close) or with its last handle, and everything was read.
pub struct Subscription(Arc<Queue>);

impl Subscription {
    /// The next one that is there already.
    #[must_use]
    pub fn try_next(&self) -> Option<Notification> {
        self.0.waiting.lock().take()
    }

    /// The next one, for which it waits so long at most.
    #[must_use]
    pub fn next_timeout(&self, patience: Duration) -> Option<Notification> {
        let mut waiting = self.0.waiting.lock();
        let empty = |waiting: &mut Waiting| waiting.events.is_empty() && waiting.lost == 0 && !waiting.closed;
        self.0.filled.wait_while_for(&mut waiting, empty, patience);
        waiting.take()
    }
}

impl Iterator for Subscription {
    type Item = Notification;

    fn next(&mut self) -> Option<Notification> {
        let mut waiting = self.0.waiting.lock();
        loop {
            match waiting.take() {
                None if !waiting.closed => self.0.filled.wait(&mut waiting),
                taken => return taken,
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.waiting.lock();
        f.debug_struct("Subscription")
            .field("waiting", &waiting.events.len())
            .field("lost", &waiting.lost)
            .finish_non_exhaustive()
    }
}

type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// The functions that the application wants called.
#[derive(Clone, Default)]
pub(in crate::engine) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(in crate::engine) fn add(&mut self, hook: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.push(Arc::new(hook));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.len()).finish()
    }
}

thread_local! {
    /// Whether this thread is in a function of the application that was told of an event.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Who hears of events.
pub(in crate::engine) struct Bus {
    queues: Mutex<Vec<Weak<Queue>>>,
    closed: AtomicBool,
    hooks: Hooks,
    panics: AtomicU64,
}

impl Bus {
    pub(in crate::engine) fn new(hooks: Hooks) -> Self {
        Self { queues: Mutex::default(), closed: AtomicBool::new(false), hooks, panics: AtomicU64::new(0) }
    }

    /// Delivers events to everybody. It waits for nobody but the application's own functions.
    pub(in crate::engine) fn publish(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.queues.lock().retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            events.iter().cloned().for_each(|event| queue.push(event));
            true
        });
        // A function that makes another event would be called by itself without end.
        if self.hooks.0.is_empty() || IN_HOOK.replace(true) {
            return;
        }
        for event in events {
            for hook in &self.hooks.0 {
                if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
                    self.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        IN_HOOK.set(false);
    }

    fn subscribe(&self, capacity: usize) -> Subscription {
        let queue = Queue { waiting: Mutex::default(), filled: Condvar::new(), capacity };
        let queue = Arc::new(queue);
        let mut queues = self.queues.lock();
        queues.retain(|other| other.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        // Read under the lock that `close` takes after it has set this.
        if self.closed.load(Ordering::SeqCst) {
            queue.close();
        }
        Subscription(queue)
    }

    /// There will be no more.
    pub(in crate::engine) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for queue in self.queues.lock().iter().filter_map(Weak::upgrade) {
            queue.close();
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.close();
    }
}

impl Portcullis {
    /// Subscribes to [events](Event), from now on. Any number of subscribers each get all of them.
    ///
    /// Up to `capacity` events, 1 to 65,536, wait for the subscriber; of more than that the oldest are dropped, and
    /// [`Notification::Lost`] tells how many. So a subscriber that is slow, or gone, holds nobody up. An event is there when
    /// the call that caused it returns; where that call could not tell whether its change was written
    /// ([`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown)), there is none, and the audit log has the truth. Events of
    /// changes that were made at the same time can come in another order than the changes.
    ///
    /// # Errors
    /// `InvalidInput` for another capacity.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{EventKind, NewUser, Notification, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let events = gate.subscribe(256)?;
    /// gate.users().set_password(ada.id, "another horse, another battery")?;
    /// let Some(Notification::Event(event)) = events.try_next() else { panic!("an event") };
    /// assert_eq!((event.kind, event.user), (EventKind::PasswordChanged, Some(ada.id)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, capacity: usize) -> Result<Subscription> {
        match capacity {
            1..=MOST_WAITING => Ok(self.engine().events.subscribe(capacity)),
            _ => {
                let message = format!("is {capacity}; 1 to {MOST_WAITING} events can wait");
                Err(Error::invalid("capacity", message))
            }
        }
    }

    /// How often a function of [`Builder::on_event`](crate::Builder::on_event) has panicked since the database was opened.
    #[must_use]
    pub fn event_panics(&self) -> u64 {
        self.engine().events.panics.load(Ordering::Relaxed)
    }
}
