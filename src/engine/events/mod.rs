//! Events: what the application, or the user whom it concerns, should hear of.

mod bus;

pub(super) use bus::{Bus, Hooks};
pub use bus::{Notification, Subscription};

use super::write::Plan;
use crate::assurance::{Method, Methods};
use crate::clock::Timestamp;
use crate::id::{ApiKeyId, ContactId, DeviceId, FactorId, SessionId, UserId};
use crate::network::Network;
#[cfg(feature = "passkeys")]
use crate::passkey::PasskeyId;
use crate::session::Client;
use crate::user::StatusKind;
use std::fmt;

/// Something that happened to an account and that its user should hear of: a login that is unusual, or a change of what
/// one logs in with (OWASP ASVS 5.0, 6.3.5 and 6.3.7). It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub time: Timestamp,
    /// To whom, where it concerns one user.
    pub user: Option<UserId>,
    /// Where it was done from, as far as the caller told; empty for what no login did.
    pub client: Client,
    /// The device that the client is known as.
    pub device: Option<DeviceId>,
    /// The session that was opened, where one was.
    pub session: Option<SessionId>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A login from a device that is not known, of a user who has logged in before.
    NewDevice,
    /// A login from a network that is not among those remembered, of a user who has logged in before.
    NewNetwork(Network),
    /// A login after that many failures since the one before, as far as they are remembered.
    SuccessAfterFailures(u32),
    /// The first login since that time, which is long ago.
    FirstAfterLongIdle(Timestamp),
    /// What was proved first was right, and the second factor was wrong or never given.
    PartialLogin(Methods),
    /// So many attempts have failed that those which follow are refused until then, without being checked. Told once a delay.
    LoginThrottled(Timestamp),
    /// So many attempts have failed in a row that this method is stopped until it is set anew.
    LoginStopped(Method),
    /// A stored hash of the user's could not be compared with the password or code that was presented, for want of a key or
    /// a feature, or because it is damaged: for the operator, who finds the reason in the audit log, and told at each such
    /// attempt. Whoever made it was answered as if it were wrong.
    UnverifiableHash,
    /// One network has failed at many names, as somebody does who tries stolen passwords; it concerns no one user.
    CredentialStuffing(Network),
    /// The password was set or changed.
    PasswordChanged,
    /// The password was marked as one that somebody else may know: it must be changed at the next login.
    PasswordCompromised,
    /// The login name was changed.
    LoginNameChanged,
    /// A contact detail was added, verified or removed.
    ContactChanged(ContactId),
    /// The holder of an e-mail address refused that another one takes its place: somebody else has begun that.
    EmailChangeRefused(ContactId),
    /// A second factor was confirmed or removed, or its recovery codes were issued anew.
    FactorChanged(FactorId),
    /// A passkey was registered or removed.
    #[cfg(feature = "passkeys")]
    PasskeyChanged(PasskeyId),
    /// A passkey was suspended because its counter did not grow: somebody else may have a copy.
    #[cfg(feature = "passkeys")]
    PasskeySuspended(PasskeyId),
    /// A refresh token was presented after it had been spent: somebody else may have it. The session has ended.
    RefreshTokenReused,
    /// A refresh token was presented from another device than its login named. The session has ended.
    RefreshTokenElsewhere,
    /// A recovery code was used in the place of a second factor.
    RecoveryCodeUsed,
    /// An API key was made for the account, or took the place of another one.
    ApiKeyCreated(ApiKeyId),
    /// An API key has other limits.
    ApiKeyChanged(ApiKeyId),
    /// An API key was revoked.
    ApiKeyRevoked(ApiKeyId),
    /// The account has another status.
    StatusChanged(StatusKind),
    /// That user began to act as this one, in the session that is named.
    Impersonated(UserId),
}

impl EventKind {
    /// The stable name, such as `new_device`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::NewNetwork(_) => "new_network",
            Self::SuccessAfterFailures(_) => "success_after_failures",
            Self::FirstAfterLongIdle(_) => "first_after_long_idle",
            Self::PartialLogin(_) => "partial_login",
            Self::LoginThrottled(_) => "login_throttled",
            Self::LoginStopped(_) => "login_stopped",
            Self::UnverifiableHash => "unverifiable_hash",
            Self::CredentialStuffing(_) => "credential_stuffing",
            Self::PasswordChanged => "password_changed",
            Self::PasswordCompromised => "password_compromised",
            Self::LoginNameChanged => "login_name_changed",
            Self::ContactChanged(_) => "contact_changed",
            Self::EmailChangeRefused(_) => "email_change_refused",
            Self::FactorChanged(_) => "factor_changed",
            #[cfg(feature = "passkeys")]
            Self::PasskeyChanged(_) => "passkey_changed",
            #[cfg(feature = "passkeys")]
            Self::PasskeySuspended(_) => "passkey_suspended",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::RefreshTokenElsewhere => "refresh_token_elsewhere",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::ApiKeyCreated(_) => "api_key_created",
            Self::ApiKeyChanged(_) => "api_key_changed",
            Self::ApiKeyRevoked(_) => "api_key_revoked",
            Self::StatusChanged(_) => "status_changed",
            Self::Impersonated(_) => "impersonated",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    /// An event that concerns one user; whoever publishes it sets the time.
    pub(super) fn of(user: UserId, kind: EventKind) -> Self {
        Self { user: Some(user), ..Self::any(kind) }
    }

    /// An event that concerns no one user.
    pub(super) fn any(kind: EventKind) -> Self {
        let (time, client) = (Timestamp::from_millis(0), Client::new());
        Self { kind, time, user: None, client, device: None, session: None }
    }

    /// Where it was done from.
    pub(super) fn from(mut self, client: &Client) -> Self {
        self.client = client.without_token();
        self
    }
}

impl Plan<'_> {
    /// Tells of something once the change is committed: not where it is refused, and once however often it is planned.
    pub(super) fn notify(&mut self, event: Event) {
        self.events.push(Event { time: self.now, ..event });
    }
}
