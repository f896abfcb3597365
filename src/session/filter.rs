//! Which sessions are meant.

use super::Session;
use crate::assurance::Assurance;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{DeviceId, RoleId, UserId};
use crate::network::Network;
use crate::text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which sessions are meant: those to which everything applies that was said. Nothing said is refused, so that a filter that
/// was put together wrongly does not end every session.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Assurance, Client, Credentials, Network, NewUser, Portcullis, SessionFilter};
/// let gate = Portcullis::in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let who = Credentials::password("ada", "correct horse battery staple");
/// for ip in ["192.0.2.7", "198.51.100.7"] {
///     gate.login(&who, &Client::new().ip(ip.parse().unwrap()).user_agent("Agent/1"))?;
/// }
/// let network = Network::new("192.0.2.0".parse().unwrap(), 24)?;
/// let filter = SessionFilter::new().network(network).assurance_below(Assurance::Two);
/// assert_eq!(gate.sessions().count_matching(&filter)?, 1);
/// assert_eq!(gate.sessions().revoke_matching(&filter)?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct SessionFilter {
    user: Option<UserId>,
    network: Option<Network>,
    device: Option<DeviceId>,
    user_agent: Option<String>,
    label: Option<String>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    seen_before: Option<Timestamp>,
    assurance_below: Option<Assurance>,
    impersonated: Option<bool>,
    selected: Option<RoleId>,
}

impl SessionFilter {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sessions of this user, whoever acts in them.
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Sessions that were opened from an address in this network. One whose address is not known is in none.
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Sessions that were opened on this device.
    pub fn device(mut self, device: DeviceId) -> Self {
        self.device = Some(device);
        self
    }

    /// Sessions whose user agent contains this text, with regard to case; 1 to 512 bytes.
    pub fn user_agent_contains(mut self, text: impl Into<String>) -> Self {
        self.user_agent = Some(text.into());
        self
    }

    /// Sessions with this label; the empty one is that of sessions without.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sessions that were opened after this instant.
    pub fn created_after(mut self, instant: Timestamp) -> Self {
        self.created_after = Some(instant);
        self
    }

    /// Sessions that were opened before this instant.
    pub fn created_before(mut self, instant: Timestamp) -> Self {
        self.created_before = Some(instant);
        self
    }

    /// Sessions whose last use was before this instant, to the second.
    pub fn seen_before(mut self, instant: Timestamp) -> Self {
        self.seen_before = Some(instant);
        self
    }

    /// Sessions that were opened with less proof than this; how long ago it was proved does not count.
    pub fn assurance_below(mut self, level: Assurance) -> Self {
        self.assurance_below = Some(level);
        self
    }

    /// Sessions in which somebody acts as the user, or those in which nobody does.
    pub fn impersonated(mut self, impersonated: bool) -> Self {
        self.impersonated = Some(impersonated);
        self
    }

    /// Sessions for which this role was selected. A session that selected none, and so has all, is not among them.
    pub fn selected_role(mut self, role: RoleId) -> Self {
        self.selected = Some(role);
        self
    }

    /// The user whose sessions are meant, if it is one only.
    pub(crate) const fn of_user(&self) -> Option<UserId> {
        self.user
    }

    pub(crate) fn check(&self) -> Result<()> {
        if *self == Self::default() {
            let message =
                "says nothing and would mean every session; call Sessions::revoke_everything for that";
            return Err(Error::invalid("session.filter", message));
        }
        if let Some(part) = &self.user_agent {
            if part.is_empty() {
                let message = "is empty, which every user agent contains; leave it out";
                return Err(Error::invalid("session.filter.user_agent", message));
            }
            text::plain("session.filter.user_agent", part, text::MAX_TEXT)?;
        }
        match &self.label {
            Some(label) => text::plain("session.filter.label", label, text::MAX_NAME),
            None => Ok(()),
        }
    }

    pub(crate) fn matches(&self, session: &Session) -> bool {
        // What was not said applies to all.
        fn fits<T>(said: Option<&T>, test: impl FnOnce(&T) -> bool) -> bool {
            said.is_none_or(test)
        }
        fits(self.user.as_ref(), |user| session.user == *user)
            && fits(self.network.as_ref(), |network| session.client.ip.is_some_and(|ip| network.contains(ip)))
            && fits(self.device.as_ref(), |device| session.device == Some(*device))
            && fits(self.user_agent.as_ref(), |part| session.client.user_agent.contains(part.as_str()))
            && fits(self.label.as_ref(), |label| session.label == *label)
            && fits(self.created_after.as_ref(), |instant| session.created > *instant)
            && fits(self.created_before.as_ref(), |instant| session.created < *instant)
            && fits(self.seen_before.as_ref(), |instant| session.last_seen < *instant)
            && fits(self.assurance_below.as_ref(), |level| session.methods.assurance() < *level)
            && fits(self.impersonated.as_ref(), |is| session.impersonator.is_some() == *is)
            && fits(self.selected.as_ref(), |role| {
                session.selected.as_ref().is_some_and(|selected| selected.contains(role))
            })
    }
}

/// What was said, in one line for the audit log; texts are quoted, and long ones cut.
impl fmt::Display for SessionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut add =
            |name: &str, said: Option<String>| parts.extend(said.map(|said| format!("{name} {said}")));
        add("of", self.user.map(|user| user.to_string()));
        add("from", self.network.map(|network| network.to_string()));
        add("on", self.device.map(|device| device.to_string()));
        add("user agent with", self.user_agent.as_deref().map(quoted));
        add("label", self.label.as_deref().map(quoted));
        add("created after", self.created_after.map(|instant| instant.to_string()));
        add("created before", self.created_before.map(|instant| instant.to_string()));
        add("last seen before", self.seen_before.map(|instant| instant.to_string()));
        add("assurance below", self.assurance_below.map(|level| format!("{level:?}").to_lowercase()));
        add("impersonated", self.impersonated.map(|is| is.to_string()));
        add("selected", self.selected.map(|role| role.to_string()));
        f.write_str(&parts.join(", "))
    }
}

/// Longest part of a text that is told.
const MOST_TOLD: usize = 64;

fn quoted(text: &str) -> String {
    let part: String = text.chars().take(MOST_TOLD).collect();
    let rest = if part.len() < text.len() { "…" } else { "" };
    format!("{part:?}{rest}")
}
