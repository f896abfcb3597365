//! What is remembered of a user's logins, and for how long.

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
    pub(crate) devices: usize,
    pub(crate) prefixes: Prefixes,
}

impl HistoryPolicy {
    /// The defaults.
    pub const fn new() -> Self {
        Self { keep: Duration::from_secs(90 * 86_400), devices: 32, prefixes: Prefixes { v4: 24, v6: 48 } }
    }

    /// How long anything is remembered of a login; 1 to 3,650 days, 90 by default. A device or a network that the user
    /// has not logged in from for so long is a new one again.
    pub const fn keep(mut self, span: Duration) -> Self {
        self.keep = span;
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
