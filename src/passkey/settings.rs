//! Who asks for passkeys, and how strictly.

use super::ceremony::RelyingParty;
use crate::error::Result;
use std::time::Duration;

/// Whether the authenticator must verify its user, by a PIN or a fingerprint, beside noticing that somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UserVerification {
    /// It must.
    Required,
    /// It should where it can.
    #[default]
    Preferred,
    /// It need not: the password has proved enough.
    Discouraged,
}

/// The relying party of passkeys; give it to [`Builder::passkeys`](crate::Builder::passkeys).
///
/// A passkey is bound to the relying party's id for ever: choose a domain that stays.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{PasskeySettings, Portcullis, UserVerification};
/// let settings = PasskeySettings::new("example.org", ["https://login.example.org"])
///     .name("Example")
///     .second_factor(UserVerification::Discouraged);
/// let gate = Portcullis::builder().passkeys(settings).in_memory()?;
/// # drop(gate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PasskeySettings {
    pub(super) id: String,
    pub(super) origins: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) second_factor: UserVerification,
    pub(super) timeout: Duration,
}

impl PasskeySettings {
    /// The relying party's id, which is a domain such as `example.org`, and the origins from which browsers may answer,
    /// each as the browser writes it: `https://login.example.org`, with the port where it is not 443. For development
    /// the id may be `localhost` and the origin `http://localhost:8080`. An app on Android answers from
    /// `android:apk-key-hash:` and its hash.
    ///
    /// Every origin in the list can have anybody log in: name no host that serves other people's pages.
    pub fn new<O: Into<String>>(id: impl Into<String>, origins: impl IntoIterator<Item = O>) -> Self {
        Self {
            id: id.into(),
            origins: origins.into_iter().map(Into::into).collect(),
            name: None,
            second_factor: UserVerification::default(),
            timeout: Duration::from_secs(300),
        }
    }

    /// What the browser calls the relying party; its id unless said otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the authenticator must verify the user where the passkey comes after a password;
    /// [preferred](UserVerification::Preferred) unless said otherwise. Where the passkey is the only factor it always must.
    pub fn second_factor(mut self, verification: UserVerification) -> Self {
        self.second_factor = verification;
        self
    }

    /// How long an answer may take, 30 seconds to 10 minutes; 5 minutes unless said otherwise, as the standard recommends
    /// (section 15.1).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn checked(&self) -> Result<RelyingParty> {
        RelyingParty::of(self)
    }
}
