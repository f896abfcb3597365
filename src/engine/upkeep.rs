//! One portion of housekeeping, whoever asks for it: the caller, or the thread of `maintainer`.

use super::bookkeeping::{LEFTOVER, LeftoverRecord};
use super::{Engine, Portcullis};
use crate::error::{Error, Result};

/// What housekeeping did: one call of [`Portcullis::maintain`], or several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// Sessions past their absolute end that were removed.
    pub expired_sessions: usize,
    /// Sessions past their idle limit that were removed.
    pub idle_sessions: usize,
    /// API keys past their end that were removed, and some whose end has moved because they were used.
    pub expired_keys: usize,
    /// Sessions and API keys whose last-seen time was written back.
    pub seen_written: usize,
    /// Logins under way that nobody went on with in time.
    pub abandoned_logins: usize,
    /// Assignments, direct grants and flag rules past their end that were removed.
    pub ended_grants: usize,
    /// Rows of deleted users, roles, scopes, permissions, flags and ended sessions that were removed.
    pub leftovers: usize,
    /// One-time tokens past their end that were removed.
    pub expired_tickets: usize,
    /// Entries of login histories that were too old to be kept.
    pub history: usize,
    /// Passkey ceremonies past their time that were removed.
    pub ended_ceremonies: usize,
    /// Notes of which sessions have signed tokens out that were removed, because all of those have expired.
    pub expired_signed: usize,
    /// Rows of failed logins in which nothing counts any more that were removed.
    pub idle_failures: usize,
    /// Whether there is more to do: call again.
    pub more: bool,
}

impl Maintenance {
    /// Both together, as far as counts go; of `more` the later one counts.
    pub(super) fn and(self, later: Self) -> Self {
        let sum = |of: fn(&Self) -> usize| of(&self).saturating_add(of(&later));
        Self {
            expired_sessions: sum(|done| done.expired_sessions),
            idle_sessions: sum(|done| done.idle_sessions),
            expired_keys: sum(|done| done.expired_keys),
            seen_written: sum(|done| done.seen_written),
            abandoned_logins: sum(|done| done.abandoned_logins),
            ended_grants: sum(|done| done.ended_grants),
            leftovers: sum(|done| done.leftovers),
            expired_tickets: sum(|done| done.expired_tickets),
            history: sum(|done| done.history),
            ended_ceremonies: sum(|done| done.ended_ceremonies),
            expired_signed: sum(|done| done.expired_signed),
            idle_failures: sum(|done| done.idle_failures),
            more: later.more,
        }
    }
}

impl Portcullis {
    /// Does a bounded portion of housekeeping: removes sessions that are over, old entries of login histories and rows of
    /// what was deleted, and writes last-seen times back. Nothing depends on it for correctness: what is over is refused,
    /// swept or not.
    ///
    /// Call it from a timer, every minute or so, and again while there is [more](Maintenance::more); or let a thread do
    /// that, with [`start_maintenance`](Self::start_maintenance). What a crash can lose of last-seen times is what was seen
    /// since it last came round, so that after a crash a session may go idle that much early, never late. A session that
    /// was not used is removed an hour after its idle limit.
    ///
    /// The budget bounds the rows that the call touches of each sort, and the memory that it looks through; a thousand is
    /// some ten milliseconds on a disk. Of idle sessions it may be up to 63 more, because they are found in groups.
    ///
    /// # Errors
    /// `InvalidInput` for a budget of 0; `Denied` for a delegated handle; the storage kinds.
    pub fn maintain(&self, budget: usize) -> Result<Maintenance> {
        check_budget(budget)?;
        self.refuse_delegated("maintain")?;
        match self.engine().keep_house(budget, || true) {
            (done, None) => Ok(done),
            (_, Some(error)) => Err(error),
        }
    }
}

pub(super) fn check_budget(budget: usize) -> Result<()> {
    match budget {
        0 => Err(Error::invalid(
            "budget",
            "is 0; give the number of rows that one call may touch of each sort",
        )),
        _ => Ok(()),
    }
}

impl Engine {
    /// One portion. Each part is tried even where another one fails: one row that can not be read must not keep expired
    /// sessions. The first error is told, beside what was done nevertheless.
    pub(super) fn keep_house(
        &self,
        budget: usize,
        goes_on: impl Fn() -> bool,
    ) -> (Maintenance, Option<Error>) {
        let mut failed = None;
        // A number, and whether there is more.
        let mut part = |sweep: &dyn Fn() -> Result<(usize, bool)>| {
            if !goes_on() {
                return (0, true);
            }
            sweep().unwrap_or_else(|error| {
                failed.get_or_insert(error);
                (0, false)
            })
        };
        let full = |count: Result<usize>| count.map(|count| (count, count >= budget));
        let (leftovers, _) = part(&|| full(self.sweep_leftovers(budget)));
        let (of_eras, _) = part(&|| full(self.sweep_endings(budget)));
        let leftovers = leftovers.saturating_add(of_eras);
        let (expired_sessions, expired) = part(&|| full(self.sweep_expired(budget)));
        let (idle_sessions, idle) = part(&|| self.sweep_idle(budget));
        let (expired_keys, keys) = part(&|| full(self.sweep_keys(budget)));
        let (ended_grants, ended) = part(&|| full(self.sweep_ended(budget)));
        let (expired_tickets, tickets) = part(&|| full(self.sweep_tickets(budget)));
        let (history, old) = part(&|| full(self.sweep_history(budget)));
        let (seen_written, seen) = part(&|| self.write_seen(budget));
        let (idle_failures, _) = part(&|| full(self.sweep_throttle(budget)));
        let (abandoned_logins, abandoned) = part(&|| full(self.sweep_challenges(budget)));
        let (ended_ceremonies, ceremonies) = part(&|| full(self.sweep_ceremonies(budget)));
        let (expired_signed, signed) = part(&|| full(self.sweep_signed(budget)));
        let (_, marked) = part(&|| {
            let markers = self.slice::<LeftoverRecord>(LEFTOVER, &[], 1)?;
            Ok((0, !markers.is_empty() || self.has_endings()?))
        });
        let more = expired
            || idle
            || keys
            || ended
            || tickets
            || old
            || seen
            || abandoned
            || ceremonies
            || signed
            || marked;
        let done = Maintenance {
            expired_sessions,
            idle_sessions,
            expired_keys,
            seen_written,
            abandoned_logins,
            ended_grants,
            leftovers,
            expired_tickets,
            history,
            ended_ceremonies,
            expired_signed,
            idle_failures,
            more,
        };
        (done, failed)
    }
}
