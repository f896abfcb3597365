//! The thread that keeps house: rounds at an interval, each in small portions with pauses between them.

use super::ending::Ends;
use super::upkeep::check_budget;
use super::{Engine, Maintenance, Portcullis};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest time between two rounds: last-seen times must be written back now and then.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest pause between two portions.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most rows of a sort in a portion, so that one ends soon.
const MOST: usize = 100_000;
/// After failures the next round waits longer, up to sixteen intervals, and no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const MOST_DOUBLINGS: u32 = 4;

/// When the thread of [`Portcullis::start_maintenance`] works, and how much at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct MaintenanceSchedule {
    interval: Duration,
    budget: usize,
    pause: Duration,
}

impl MaintenanceSchedule {
    /// A round a minute, in portions of 256 rows of each sort, with 20 milliseconds between two of them.
    pub const fn new() -> Self {
        Self { interval: Duration::from_secs(60), budget: 256, pause: Duration::from_millis(20) }
    }

    /// From the end of a round to the beginning of the next one: 1 millisecond to a day. What a crash can lose of last-seen
    /// times is what was seen in that time and in one round.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Rows of each sort in a portion, as the budget of [`Portcullis::maintain`]: 1 to 100,000.
    pub const fn budget(mut self, rows: usize) -> Self {
        self.budget = rows;
        self
    }

    /// Between two portions of a round, so that the store is free for others: up to a minute.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    fn check(&self) -> Result<()> {
        check_budget(self.budget)?;
        if self.budget > MOST {
            return Err(Error::invalid("budget", format!("is {}; at most {MOST} rows", self.budget)));
        }
        if self.interval < Duration::from_millis(1) || self.interval > LONGEST {
            let message = format!("is {:?}; 1 millisecond to a day", self.interval);
            return Err(Error::invalid("interval", message));
        }
        if self.pause > LONGEST_PAUSE {
            return Err(Error::invalid("pause", format!("is {:?}; up to a minute", self.pause)));
        }
        Ok(())
    }
}

impl Default for MaintenanceSchedule {
    fn default() -> Self {
        Self::new()
    }
}

/// A failure of housekeeping, which goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintenanceFailure {
    /// When, by the database's time; `None` where a panic kept that from being asked.
    pub time: Option<Timestamp>,
    /// What sort of error it was; `None` for a panic of a function of the application.
    pub kind: Option<ErrorKind>,
    /// The error in words.
    pub message: String,
}

/// How a [`Maintainer`] is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainerStatus {
    /// Whether the thread is there: not after it was stopped, or the database was closed.
    pub running: bool,
    /// Rounds that came to their end.
    pub rounds: u64,
    /// When the last one did.
    pub last_round: Option<Timestamp>,
    /// What was done in all.
    pub done: Maintenance,
    /// Rounds that failed.
    pub failures: u64,
    /// How many of them in a row up to now; after each the next round waits longer.
    pub failures_in_a_row: u32,
    /// The last of them.
    pub last_failure: Option<MaintenanceFailure>,
}

#[derive(Default)]
struct State {
    over: bool,
    /// A round was asked for.
    wanted: bool,
    status: MaintainerStatus,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

impl Ends for Shared {
    fn end(&self) {
        self.state.lock().over = true;
        self.woken.notify_all();
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.state.lock().over
    }

    /// Waits; false where the thread is to end. A round that is asked for ends the wait between rounds.
    fn wait(&self, span: Duration, between_rounds: bool) -> bool {
        let mut state = self.state.lock();
        let sleep = |state: &mut State| !(state.over || between_rounds && state.wanted);
        self.woken.wait_while_for(&mut state, sleep, span);
        if between_rounds {
            state.wanted = false;
        }
        !state.over
    }
}

/// The thread that keeps house, from [`Portcullis::start_maintenance`]; it ends when this is dropped.
pub struct Maintainer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Maintainer {
    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> MaintainerStatus {
        self.shared.state.lock().status.clone()
    }

    /// Begins the next round now, or right after the one under way.
    pub fn run_soon(&self) {
        self.shared.state.lock().wanted = true;
        self.shared.woken.notify_all();
    }

    /// Ends the thread and waits for that: for what it is just doing, not for the rest of a round.
    pub fn stop(&mut self) -> MaintainerStatus {
        self.end();
        self.status()
    }

    fn end(&mut self) {
        self.shared.end();
        if let Some(thread) = self.thread.take()
            // A function of the application that owns this may be dropped with the database, on that very thread.
            && thread.thread().id() != thread::current().id()
        {
            // The thread catches panics, so that there is nothing to learn from it.
            let _ = thread.join();
        }
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Maintainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintainer").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Portcullis {
    /// Starts a thread that does what [`maintain`](Self::maintain) does: a round at once and then at an interval, each in
    /// portions with pauses, so that logins and changes find the store free. Checks do not notice it: what it removes is
    /// refused already, and they take no lock that is held while anything is written.
    ///
    /// The thread ends with the [`Maintainer`]. It keeps no database open: it ends when the database is closed, stops or loses
    /// its last handle, at the latest after what it is just doing. A failure, also a panic of a function of the
    /// application, ends the round; it is [told](Maintainer::status), and the next round waits longer the more have failed
    /// in a row: up to sixteen intervals, and an hour at most unless the interval is longer.
    ///
    /// # Errors
    /// `InvalidInput` for a schedule beyond its limits; `Denied` for a delegated handle; `Storage` where the system gives no
    /// thread.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{MaintenanceSchedule, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let mut maintainer = gate.start_maintenance(MaintenanceSchedule::new())?;
    /// assert!(maintainer.status().running);
    /// let status = maintainer.stop();
    /// assert_eq!((status.running, status.last_failure), (false, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_maintenance(&self, schedule: MaintenanceSchedule) -> Result<Maintainer> {
        schedule.check()?;
        self.refuse_delegated("start maintenance")?;
        let shared = Arc::new(Shared::default());
        shared.state.lock().status.running = true;
        let told: Arc<dyn Ends> = Arc::<Shared>::clone(&shared);
        self.engine().ending.tell(&told);
        let engine = Arc::downgrade(&self.engine);
        let worker = Worker { engine, shared: Arc::clone(&shared), schedule };
        let thread = thread::Builder::new().name("portcullis-upkeep".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Storage, format!("could not start the maintenance thread ({error})"))
                .caused_by(error)
        })?;
        Ok(Maintainer { shared, thread: Some(thread) })
    }
}

struct Worker {
    engine: Weak<Engine>,
    shared: Arc<Shared>,
    schedule: MaintenanceSchedule,
}

impl Worker {
    fn run(self) {
        let mut wait = Duration::ZERO;
        while self.shared.wait(wait, true) {
            let Some(failures) = self.round() else { break };
            let interval = self.schedule.interval;
            let longer = interval.saturating_mul(1 << failures.min(MOST_DOUBLINGS));
            wait = longer.min(LONGEST_WAIT).max(interval);
        }
        let mut state = self.shared.state.lock();
        state.over = true;
        state.status.running = false;
    }

    /// A round; how many have failed in a row after it, or none where the thread is to end.
    fn round(&self) -> Option<u32> {
        loop {
            // INVARIANT: held for one portion only, so that the database goes with its last handle.
            let engine = self.engine.upgrade()?;
            let budget = self.schedule.budget;
            let portion = catch_unwind(AssertUnwindSafe(|| {
                let (done, failed) = engine.keep_house(budget, || !self.shared.is_over());
                (done, failed, engine.now())
            }));
            let is_over = engine.view.is_stopped();
            drop(engine);
            let mut state = self.shared.state.lock();
            let status = &mut state.status;
            let failure = match portion {
                Ok((done, failed, now)) => {
                    status.done = status.done.and(done);
                    match failed {
                        // That the database was closed meanwhile is no failure.
                        Some(error) if !(is_over && error.kind() == ErrorKind::Stopped) => {
                            let (kind, message) = (Some(error.kind()), error.to_string());
                            Some(MaintenanceFailure { time: Some(now), kind, message })
                        }
                        None if !done.more && !is_over => {
                            status.rounds += 1;
                            status.last_round = Some(now);
                            status.failures_in_a_row = 0;
                            return Some(0);
                        }
                        _ => None,
                    }
                }
                Err(_) => {
                    let message = "a function of the application panicked".to_owned();
                    Some(MaintenanceFailure { time: None, kind: None, message })
                }
            };
            let failed = failure.is_some();
            if failed {
                status.failures += 1;
                status.failures_in_a_row = status.failures_in_a_row.saturating_add(1);
                status.last_failure = failure;
            }
            match (is_over, failed) {
                (true, _) => return None,
                (false, true) => return Some(status.failures_in_a_row),
                (false, false) => {}
            }
            drop(state);
            if !self.shared.wait(self.schedule.pause, false) {
                return None;
            }
        }
    }
}
