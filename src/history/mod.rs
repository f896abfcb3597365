//! Login history: what each user's logins came to, where they came from, and how much of it is kept.
//!
//! There are three sorts of entries, each with a bound of its own: guesses can push out neither the successes nor what was
//! done by somebody who knew the password.

mod ops;
mod policy;
mod record;

pub(crate) use ops::{
    newest, next_number, of_sort, oldest_days, stage_entry, stage_network, stage_refused, stripped,
};
pub use policy::HistoryPolicy;
pub(crate) use record::{LOGIN_HISTORY, LOGIN_NETWORK, LoginRecord, NetworkRecord, Sort, TABLES};

use crate::assurance::Methods;
use crate::clock::Timestamp;
use crate::id::{DeviceId, SessionId, UserId};
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What an attempt to log in came to. It is for the eyes of the user whose account it is: somebody who is not let in hears
/// less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LoginOutcome {
    /// It opened a session.
    Success,
    /// What was proved was right, and something more was asked for.
    StepPassed,
    /// The password was wrong, or there is none.
    WrongPassword,
    /// The password was right and the second factor wrong.
    WrongFactor,
    /// What was proved was right, and a session was refused: because of the status of the account, a rule of the
    /// application, or roles that must not be active together.
    NotAllowed,
    /// It was turned away because of the failures before it, and nothing was checked.
    Throttled,
}

impl LoginOutcome {
    /// The stable name, such as `wrong_password`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::StepPassed => "step_passed",
            Self::WrongPassword => "wrong_password",
            Self::WrongFactor => "wrong_factor",
            Self::NotAllowed => "not_allowed",
            Self::Throttled => "throttled",
        }
    }

    pub(crate) const fn sort(self) -> Sort {
        match self {
            Self::Success => Sort::Success,
            Self::WrongPassword | Self::Throttled => Sort::Refused,
            Self::StepPassed | Self::WrongFactor | Self::NotAllowed => Sort::Step,
        }
    }
}

impl fmt::Display for LoginOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry of a user's login history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastLogin {
    /// Whose account it is.
    pub user: UserId,
    /// When it was; of several attempts, the first.
    pub time: Timestamp,
    /// Of several attempts the last, at most an hour later.
    pub until: Timestamp,
    /// How many attempts the entry stands for: like ones from one network, without a success between them. One for a
    /// success.
    pub attempts: u32,
    /// What came of it.
    pub outcome: LoginOutcome,
    /// What was proved.
    pub methods: Methods,
    /// The source address of the last attempt, where the caller told it.
    pub source: Option<IpAddr>,
    /// The network of that address.
    pub network: Option<Network>,
    /// The device, where the token of a known one was presented, or a new one was made.
    pub device: Option<DeviceId>,
    /// The device in the client's words, perhaps empty.
    pub device_name: String,
    /// The first 160 bytes of the user agent string, perhaps empty.
    pub user_agent: String,
    /// The session that was opened.
    pub session: Option<SessionId>,
}

/// A network that a user has logged in from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownNetwork {
    /// Which.
    pub network: Network,
    /// When the user first logged in from it.
    pub first_seen: Timestamp,
    /// When the user last did, to the hour.
    pub last_seen: Timestamp,
}
