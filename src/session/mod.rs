//! Sessions: who is logged in, from where, and until when.

mod eras;
mod family;
mod filter;
mod impersonation;
mod ops;
mod record;

pub(crate) use eras::{comes_again, is_of_era, next_era};
pub use family::RefreshPolicy;
pub(crate) use family::{Family, Former, Standing};
pub use filter::SessionFilter;
pub use impersonation::{Impersonation, ImpersonationPolicy, Impersonator};
pub(crate) use ops::{era, expect_era, stage_next_era, stage_same_era};
pub(crate) use record::{
    SESSION, SESSION_BY_EXPIRY, SESSION_BY_USER, SESSION_ERA, SessionEraRecord, SessionRecord, TABLES,
};

use crate::assurance::Methods;
use crate::clock::Timestamp;
use crate::crypto::DeviceProof;
use crate::error::{Error, Result};
use crate::id::{DeviceId, RoleId, SessionId, UserId};
use crate::text;
use std::net::IpAddr;
use std::time::Duration;

/// A session, without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Safe to show and to log.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// When the user logged in.
    pub created: Timestamp,
    /// When its token was last accepted, to the second.
    pub last_seen: Timestamp,
    /// Dies when not seen for so long; `None` is no such limit.
    pub idle_timeout: Option<Duration>,
    /// Dies at this instant whatever happens.
    pub expires: Timestamp,
    /// What the caller said of the client.
    pub client: Client,
    /// The roles that were selected for it, by number; `None` where all that the user has count, also those that are
    /// assigned later. One that the user does not have, or no longer, does not count for as long.
    pub selected: Option<Vec<RoleId>>,
    /// How its user proved who they are, or whoever acts as its user; [`Methods::assurance`] is the level that this comes
    /// to.
    pub methods: Methods,
    /// When that was, the last time.
    pub authenticated: Timestamp,
    /// When its user proved two factors the last time; `None` where that never was. The level counts from then.
    pub elevated: Option<Timestamp>,
    /// The device it was opened on, which may have been forgotten since; `None` where devices are not remembered.
    pub device: Option<DeviceId>,
    /// What its user calls it; empty where nobody has named it.
    pub label: String,
    /// Who acts in it as its user, where somebody else does.
    pub impersonator: Option<Impersonator>,
    /// From when on its token opens nothing until it is refreshed; `None` where it is not one that can be.
    pub access_until: Option<Timestamp>,
}

/// Where a login comes from, as far as the caller knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Client {
    pub(crate) device: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: String,
    pub(crate) known_as: KnownAs,
    pub(crate) refreshable: bool,
}

/// The device token that a client presents. It takes no part in comparisons, so that clients can be compared by `==`, and
/// the secret itself is not kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownAs(Option<DeviceProof>);

impl PartialEq for KnownAs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KnownAs {}

impl Client {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the device; at most 128 bytes.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = device.into();
        self
    }

    /// The source address: the client's own, and not that of a proxy before the application, or all clients count as one
    /// where failures are counted. Leave it out where it is not known for sure.
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// The user agent string; at most 512 bytes.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The [`DeviceToken`](crate::DeviceToken) that an earlier login from this device gave out. One that is not known, any
    /// more or at all, is as good as none. Two clients that differ in this only are equal.
    pub fn device_token(mut self, token: impl AsRef<str>) -> Self {
        self.known_as = KnownAs(DeviceProof::parse(token.as_ref()));
        self
    }

    /// The same without the device token.
    pub(crate) fn without_token(&self) -> Self {
        Self { known_as: KnownAs::default(), ..self.clone() }
    }

    pub(crate) fn device_proof(&self) -> Option<DeviceProof> {
        self.known_as.0
    }

    /// The device, empty where unknown.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.device
    }

    /// The source address, where known.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The user agent string, empty where unknown.
    #[must_use]
    pub fn user_agent_text(&self) -> &str {
        &self.user_agent
    }

    pub(crate) fn check(&self) -> Result<()> {
        text::plain("client.device", &self.device, text::MAX_NAME)?;
        text::plain("client.user_agent", &self.user_agent, text::MAX_TEXT)
    }
}

/// How long a session lives.
///
/// Three presets have the limits of NIST SP 800-63B-4; the default is [`AAL2`](Self::AAL2).
///
/// | preset | in all | without a use | NIST SP 800-63B-4 |
/// |---|---|---|---|
/// | [`AAL1`](Self::AAL1) | 30 days | no limit | section 2.1.3 |
/// | [`AAL2`](Self::AAL2) | 24 hours | 1 hour | section 2.2.3 |
/// | [`AAL3`](Self::AAL3) | 12 hours | 15 minutes | section 2.3.3 |
///
/// A preset sets limits and claims no level: how sure a session is, [`Methods::assurance`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    pub(crate) idle_secs: u32,
    pub(crate) absolute: Duration,
}

impl SessionLimits {
    /// 30 days in all, and no limit without a use.
    pub const AAL1: Self = Self { idle_secs: 0, absolute: Duration::from_secs(30 * 86_400) };
    /// 24 hours in all, and one hour without a use.
    pub const AAL2: Self = Self { idle_secs: 3600, absolute: Duration::from_secs(86_400) };
    /// 12 hours in all, and 15 minutes without a use.
    pub const AAL3: Self = Self { idle_secs: 900, absolute: Duration::from_secs(12 * 3600) };

    /// How long a session lives in all.
    #[must_use]
    pub const fn absolute(&self) -> Duration {
        self.absolute
    }

    /// How long it lives without a use, where that is limited.
    #[must_use]
    pub const fn idle(&self) -> Option<Duration> {
        match self.idle_secs {
            0 => None,
            secs => Some(Duration::from_secs(secs as u64)),
        }
    }

    /// Limits of one's own: the longest time between two uses, and the longest life. Both count in whole seconds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a limit below one second, an idle limit above
    /// the absolute one, or an absolute one above 3,650 days.
    pub fn new(idle: Option<Duration>, absolute: Duration) -> Result<Self> {
        const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
        if absolute < Duration::from_secs(1) || absolute > LONGEST {
            return Err(Error::invalid(
                "session.absolute",
                format!("{absolute:?} is not from 1 second to 3,650 days"),
            ));
        }
        if let Some(idle) = idle
            && (idle < Duration::from_secs(1) || idle > absolute)
        {
            return Err(Error::invalid(
                "session.idle",
                format!("{idle:?} is not from 1 second to the absolute limit of {absolute:?}"),
            ));
        }
        let idle_secs = idle.map_or(0, |idle| u32::try_from(idle.as_secs()).unwrap_or(u32::MAX));
        Ok(Self { idle_secs, absolute })
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self::AAL2
    }
}

/// How many sessions of one user may be open at once, and what happens to a login that would open one more (OWASP ASVS
/// 5.0, 7.1.2). It holds exactly, with any number of threads.
///
/// A session counts until it has ended: revoked, past its absolute end, or past its idle limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParallelSessions {
    /// Any number.
    Unlimited,
    /// So many; the login ends the one that was opened first.
    EndOldest(u16),
    /// So many; the login is refused with [`Denial::SessionLimit`](crate::Denial::SessionLimit), once all is proved.
    Refuse(u16),
}

impl ParallelSessions {
    /// The highest limit.
    pub const MOST: u16 = 1000;

    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::EndOldest(most) | Self::Refuse(most) if !(1..=Self::MOST).contains(&most) => {
                let message = format!("{most} is not from 1 to {}", Self::MOST);
                Err(Error::invalid("session.parallel", message))
            }
            _ => Ok(()),
        }
    }
}

/// What holds for all sessions beside their limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionPolicy {
    pub(crate) parallel: ParallelSessions,
    /// How long a second factor counts after it was proved.
    pub(crate) assurance_age: Option<Duration>,
    /// Whether an open ends every session.
    pub(crate) ends_at_open: bool,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self { parallel: ParallelSessions::Unlimited, assurance_age: None, ends_at_open: false }
    }
}
