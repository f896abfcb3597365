//! The settings of sessions, one-time tokens and the history of logins.

use super::Builder;
use crate::history::HistoryPolicy;
use crate::session::{ParallelSessions, SessionLimits};
use crate::ticket::TicketLives;
use std::time::Duration;

impl Builder {
    /// How long sessions live that begin from now on.
    pub fn session_limits(mut self, limits: SessionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many sessions of one user may be open at once. Default: [`ParallelSessions::Unlimited`].
    pub fn parallel_sessions(mut self, limit: ParallelSessions) -> Self {
        self.session_policy.parallel = limit;
        self
    }

    /// Whether every open ends all sessions that there were, as [`Sessions::revoke_everything`](crate::Sessions::revoke_everything)
    /// does, before it hands out the database. Not by default.
    ///
    /// For whoever puts copies of a database back: an old copy has sessions that were ended since. With this nobody comes in
    /// by one of them, and everybody logs in anew after each restart.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// let gate = portcullis::Portcullis::builder().end_sessions_at_open(true).in_memory()?;
    /// # drop(gate);
    /// # Ok(())
    /// # }
    /// ```
    pub fn end_sessions_at_open(mut self, end: bool) -> Self {
        self.session_policy.ends_at_open = end;
        self
    }

    /// How long a second factor counts after it was proved: then [`Principal::assurance`](crate::Principal::assurance)
    /// falls back to [`Assurance::One`](crate::Assurance::One). Default: as long as the session lives.
    pub fn assurance_age(mut self, age: Duration) -> Self {
        self.session_policy.assurance_age = Some(age);
        self
    }

    /// How long one-time tokens live that are issued from now on.
    pub fn ticket_lives(mut self, lives: TicketLives) -> Self {
        self.ticket_lives = lives;
        self
    }

    /// What is remembered of the logins of each user.
    pub fn history(mut self, policy: HistoryPolicy) -> Self {
        self.history = policy;
        self
    }
}
