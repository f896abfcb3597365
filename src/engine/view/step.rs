//! The gaps between two loads or stores of one thread, into which a test puts what another thread might do there.
//!
//! Threads that merely run at once meet gaps of a nanosecond too seldom to prove anything.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A user's cell was read, the set not yet.
    CellRead,
    /// The answer was read from the set and is not yet confirmed.
    SetRead,
    /// One word of several was read.
    WordRead,
    /// A line's id was read, the rest not yet.
    IdRead,
    /// A line and what stands aside were read, and not yet confirmed.
    AsideRead,
    /// A line is about to remember a set.
    Remember,
    /// What is held at scopes is about to be read.
    TreeRead,
    /// What is held at one scope was read, the next one not yet.
    LevelRead,
    /// The state of a flag was read, what is held not yet.
    FlagRead,
    /// The directory was read, the page not yet.
    DirectoryRead,
    /// A time of last use is about to be stored.
    Touch,
    /// The writer is half way through a user's cell.
    CellHalfWritten,
    /// The writer copied a line that readers still find in its old place.
    LineCopied,
}

#[cfg(not(test))]
#[inline(always)]
pub(super) const fn step(_: Step) {}

#[cfg(test)]
pub(super) use hook::{at, step};

#[cfg(test)]
mod hook {
    use super::Step;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    type Act = Box<dyn FnOnce()>;
    thread_local!(static PLAN: RefCell<VecDeque<(Step, Act)>> = const { RefCell::new(VecDeque::new()) });

    /// Does this when the thread next comes to that step, after what was planned before.
    pub(in super::super) fn at(step: Step, act: impl FnOnce() + 'static) {
        PLAN.with_borrow_mut(|plan| plan.push_back((step, Box::new(act))));
    }

    pub(in super::super) fn step(step: Step) {
        let due = PLAN.with_borrow_mut(|plan| match plan.front() {
            // While the act runs, the steps of its own calls are not those that were meant.
            Some((next, _)) if *next == step => Some((plan.pop_front(), std::mem::take(plan))),
            _ => None,
        });
        if let Some((Some((_, act)), rest)) = due {
            act();
            PLAN.set(rest);
        }
    }
}
