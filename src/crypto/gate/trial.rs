//! Calls that must not wait: they are tried on a thread, and turned back where they would have to wait.
//!
//! An asynchronous call is tried before it waits for its permit as a task, so that whatever is to be said without a hash
//! is said at once: that throttling holds it up, that a token is worth nothing, that a password breaks a rule. One that
//! gets as far as its first hash is turned back there, and run again from its beginning when it is admitted.
//!
//! INVARIANT: what is run again has changed nothing. Being turned back is an error like the refusals of the gate, which no
//! call commits anything on; and from its first commit on a thread may wait, so that it is turned back no more. Functions
//! of the application that are told of a commit therefore never run in a trial.

use crate::error::{ErrorKind, Result};
use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    None,
    UnderWay,
    TurnedBack,
}

thread_local! {
    static TRIAL: Cell<Trial> = const { Cell::new(Trial::None) };
}

/// Ends the trial, also where the call panics.
struct Before(Trial);

impl Drop for Before {
    fn drop(&mut self) {
        TRIAL.set(self.0);
    }
}

/// What the call returned; none where it would have had to wait.
pub(crate) fn without_waiting<T>(call: impl FnOnce() -> Result<T>) -> Option<Result<T>> {
    let _before = Before(TRIAL.replace(Trial::UnderWay));
    let done = call();
    // One that went on without what it was refused is done: a new hash of an old password can wait for the next login.
    let turned_back = TRIAL.get() == Trial::TurnedBack;
    let again = turned_back && done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy);
    (!again).then_some(done)
}

/// Whether the thread is on trial. To be asked where it would wait; it must not then, and returns `Busy`.
pub(crate) fn turns_back() -> bool {
    let trial = TRIAL.get() != Trial::None;
    if trial {
        TRIAL.set(Trial::TurnedBack);
    }
    trial
}

/// To be called before each commit: the trial is over, and the call is not run again.
pub(crate) fn commits() {
    TRIAL.set(Trial::None);
}
