//! How much is remembered of a user's logins, and for how long.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::network::Prefixes;
use std::time::Duration;

/// Most devices that one user can have: so many rows are still removed in one commit.
const MOST_DEVICES: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

/// What is remembered of the logins of each user: how much, for how long, and what counts as unusual.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{HistoryPolicy, Portcullis};
/// use std::time::Duration;
/// let policy = HistoryPolicy::new().keep(Duration::from_secs(30 * 86_400)).devices(8);
/// let gate = Portcullis::builder().history(policy).in_memory()?;
/// # drop(gate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct HistoryPolicy {
    pub(crate) keep: Duration,
    pub(crate) successes: usize,
    pub(crate) refusals: usize,
    pub(crate) steps: usize,
    pub(crate) devices: usize,
    pub(crate) networks: usize,
    pub(crate) prefixes: Prefixes,
    pub(crate) failures: u32,
    pub(crate) idle: Duration,
}

impl HistoryPolicy {
    /// Most networks that one user can have.
    pub(crate) const MOST_NETWORKS: usize = 64;

    /// The defaults.
    pub const fn new() -> Self {
        Self {
            keep: Duration::from_secs(90 * 86_400),
            successes: 100,
            refusals: 50,
            steps: 50,
            devices: 32,
            networks: 16,
            prefixes: Prefixes { v4: 24, v6: 48 },
            failures: 5,
            idle: Duration::from_secs(90 * 86_400),
        }
    }

    /// What was last seen before this is as good as forgotten.
    pub(crate) fn forgotten_before(&self, now: Timestamp) -> Timestamp {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(now.as_millis().saturating_sub(keep))
    }

    /// How long anything is remembered of a login but the time of the last one; 1 to 3,650 days, 90 by default. A device
    /// or a network that the user has not logged in from for so long is a new one again.
    /// [`maintain`](crate::Portcullis::maintain) removes what is older, within a day.
    pub const fn keep(mut self, span: Duration) -> Self {
        self.keep = span;
        self
    }

    /// How many entries each user's login history has at most: successes (1 to 10,000, 100 by default); attempts that had
    /// no right password (0 to 10,000, 50 by default); and attempts that had one and opened no session (0 to 10,000, 50 by
    /// default). An entry of the last two sorts stands for all like attempts from one network within an hour.
    pub const fn entries(mut self, successes: usize, refusals: usize, steps: usize) -> Self {
        (self.successes, self.refusals, self.steps) = (successes, refusals, steps);
        self
    }

    /// After how many failures since the last success a login is an [event](crate::EventKind::SuccessAfterFailures); 1 to
    /// 1,000, 5 by default. They are counted from the history.
    pub const fn suspicious_failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// After how long without a login the next one is an [event](crate::EventKind::FirstAfterLongIdle); 90 days by default.
    pub const fn long_idle(mut self, span: Duration) -> Self {
        self.idle = span;
        self
    }

    /// How many networks of one user are known at a time; 1 to 64, 16 by default. The one seen longest ago makes way.
    pub const fn networks(mut self, most: usize) -> Self {
        self.networks = most;
        self
    }

    /// How many devices of one user are known at a time; 0 to 64, 32 by default. With none, no device is remembered and
    /// none is new.
    pub const fn devices(mut self, most: usize) -> Self {
        self.devices = most;
        self
    }

    /// How many leading bits of an IPv4 and of an IPv6 address make a network; 24 and 48 by default: what is commonly
    /// given to one site.
    pub const fn network_prefixes(mut self, v4: u8, v6: u8) -> Self {
        self.prefixes = Prefixes { v4, v6 };
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let range = |field: &'static str, value: usize, from: usize, to: usize| match value {
            value if (from..=to).contains(&value) => Ok(()),
            _ => Err(Error::invalid(field, format!("is {value}; {from} to {to} are taken"))),
        };
        if self.keep < DAY || self.keep > 3650 * DAY {
            return Err(Error::invalid(
                "history.keep",
                format!("is {:?}; 1 to 3,650 days are taken", self.keep),
            ));
        }
        range("history.entries", self.successes, 1, 10_000)?;
        range("history.entries", self.refusals, 0, 10_000)?;
        range("history.entries", self.steps, 0, 10_000)?;
        range("history.suspicious_failures", usize::try_from(self.failures).unwrap_or(usize::MAX), 1, 1000)?;
        range("history.networks", self.networks, 1, Self::MOST_NETWORKS)?;
        range("history.devices", self.devices, 0, MOST_DEVICES)?;
        range("history.network_prefixes", usize::from(self.prefixes.v4), 0, 32)?;
        range("history.network_prefixes", usize::from(self.prefixes.v6), 0, 128)
    }
}

impl Default for HistoryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
