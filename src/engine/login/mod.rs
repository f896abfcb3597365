//! Login: from a name and a password, over whatever else is asked for, to a session and its token.

mod answer;
mod change;
mod complete;
mod expired;
#[cfg(feature = "passkeys")]
mod passkey;
mod proved;
mod reauthenticate;
mod refusal;
mod session;

pub use answer::{Answer, CodeToSend};
pub(super) use answer::{CODE_LIFE, Kind as AnswerKind, LONGEST, reachable};
#[cfg(feature = "passkeys")]
pub use passkey::PasskeyLogin;
pub(super) use proved::Proved;
pub(super) use refusal::{Refusal, SERVICE_ACCOUNT, status_detail, tell_unverifiable};

use super::Portcullis;
use super::throttle::Attempt;
use crate::assurance::{Method, Methods};
use crate::clock::Timestamp;
use crate::credential::{CredentialRecord, MustChange};
use crate::crypto::{
    DeviceToken, MAX_PASSWORD_BYTES, OneTimeToken, Pair, RecoveryCode, RefreshToken, Source, Token, Verdict,
};
use crate::error::{Denial, Error, Result};
use crate::id::{RoleId, UserId};
use crate::secret::SecretText;
use crate::session::{Client, Session, SessionRecord};
use crate::store;
use std::fmt;

/// What somebody presents to log in. `Debug` shows the login name only.
#[derive(Clone)]
#[must_use]
pub struct Credentials {
    login: String,
    password: SecretText,
}

impl Credentials {
    /// A login name, in whatever case, and the password.
    pub fn password(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: login.into(), password: SecretText::new(password) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}

/// A login that succeeded: the only place where its tokens are ever seen.
#[derive(Debug)]
pub struct Login {
    token: Token,
    refresh: Option<RefreshToken>,
    device_token: Option<DeviceToken>,
    session: Session,
    successor: Option<RecoveryCode>,
}

impl Login {
    /// One that nothing was proved for anew, on no device.
    pub(super) const fn bare(token: Token, session: Session) -> Self {
        Self { token, refresh: None, device_token: None, session, successor: None }
    }

    /// The token to hand to the client; it can not be had again.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// What a new pair of tokens is to be had for, where the client asked for a session that can be
    /// [refreshed](Portcullis::refresh).
    #[must_use]
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh.as_ref()
    }

    /// What a refresh gives out.
    pub(super) fn refreshed(pair: Pair, session: SessionRecord) -> Self {
        let (refresh, session) = (Some(pair.refresh), session.into());
        Self { token: pair.access, refresh, device_token: None, session, successor: None }
    }

    /// The token to keep on the device and to present with later logins from it (see [`Client::device_token`]). `None`
    /// where this login has presented one that is known, and where devices are not remembered.
    #[must_use]
    pub fn device_token(&self) -> Option<&DeviceToken> {
        self.device_token.as_ref()
    }

    /// The session that the token opens.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Who logged in.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.session.user
    }

    /// Where a recovery code was used: the one that takes its place, to be shown to the user.
    #[must_use]
    pub fn new_recovery_code(&self) -> Option<&RecoveryCode> {
        self.successor.as_ref()
    }
}

/// Where a login stands after a step.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "there is one a login, and it is moved a few times")]
pub enum LoginStep {
    /// There is a session.
    Done(Login),
    /// What was proved is right and not enough: come back to [`Portcullis::answer`] with one of the challenge's methods.
    NeedsFactor(Challenge),
    /// All is proved, and the password must be changed: come back to [`Portcullis::answer`] with another one.
    MustChangePassword(Challenge),
    /// The answer is no.
    Denied(Denial),
}

impl LoginStep {
    /// The session, or why there is none.
    ///
    /// # Errors
    /// `Denied`: with the reason of the refusal, [`Denial::FactorRequired`] or [`Denial::PasswordChangeRequired`].
    pub fn done(self) -> Result<Login> {
        Err(Error::denied(match self {
            Self::Done(login) => return Ok(login),
            Self::NeedsFactor(_) => Denial::FactorRequired,
            Self::MustChangePassword(_) => Denial::PasswordChangeRequired,
            Self::Denied(denial) => denial,
        }))
    }
}

/// A login under way. It opens nothing but the next step.
#[derive(Debug)]
pub struct Challenge {
    pub(super) token: OneTimeToken,
    pub(super) user: UserId,
    pub(super) proved: Methods,
    pub(super) steps: Vec<Method>,
    pub(super) must_change: Option<MustChange>,
    pub(super) expires: Timestamp,
    pub(super) successor: Option<RecoveryCode>,
}

impl Challenge {
    /// What to present with the answer. Keep it where a session token would be kept.
    #[must_use]
    pub fn token(&self) -> &OneTimeToken {
        &self.token
    }

    /// Who is logging in.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// What was proved so far.
    pub fn proved(&self) -> Methods {
        self.proved
    }

    /// What can be answered with; for a new password there is nothing to choose from. Where a factor is asked for and
    /// there is none here, the user has none that would do, and must enrol one first; or has a passkey that is suspended or
    /// can not be asked for, and an administrator must remove that.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.steps
    }

    /// Why the password must be changed, where that is what is asked for.
    #[must_use]
    pub fn must_change(&self) -> Option<MustChange> {
        self.must_change
    }

    /// Where a recovery code was used: the one that takes its place, to be shown to the user.
    #[must_use]
    pub fn new_recovery_code(&self) -> Option<&RecoveryCode> {
        self.successor.as_ref()
    }

    /// When it is too late to answer: ten minutes after the login began.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl Portcullis {
    /// Opens a session for whoever knows the password of an active account, where nothing else is asked for.
    ///
    /// It is [`start_login`](Self::start_login) for applications without second factors: a user who must give one, or
    /// must change the password, is refused with a reason that says so.
    ///
    /// Every refusal looks alike and costs one password hash, whether the name is unknown, the password is wrong or
    /// the account is disabled; the audit log has the reason. An unknown name costs the present
    /// [`PasswordCost`](crate::PasswordCost); after that was changed, a user whose hash is older is told from it by time
    /// until the next login, which hashes the password anew. The session and its audit record are durable when this
    /// returns.
    ///
    /// After too many failures, an attempt is refused before anything is computed for it, with [`Denial::Throttled`] and how
    /// long to wait; of a name that nobody has just as of a user's. See [`ThrottlePolicy`](crate::ThrottlePolicy).
    ///
    /// # Errors
    /// `Denied` with [`Denial::Credentials`], with [`Denial::Throttled`], or with [`Denial::FactorRequired`] or
    /// [`Denial::PasswordChangeRequired`] where the password was right; `InvalidInput` for a password above 1,024 bytes or
    /// a client detail that breaks a rule, before any hash is computed; `Busy` where the admission gate is full; the storage
    /// kinds.
    ///
    /// A stored hash that this build or these settings can not verify is answered like a wrong password, after a hash that
    /// is computed for nobody: where the [`Keyring`](crate::Keyring) or the Firebase key for it is missing, where it needs
    /// the feature `legacy`, where it takes more memory than the gate has, and where it is damaged. An error would tell
    /// which names exist. So watch for [`EventKind::UnverifiableHash`](crate::EventKind::UnverifiableHash), or
    /// [`AuditKind::UnverifiableHash`](crate::AuditKind::UnverifiableHash) with the reason, and ask
    /// [`Users::password_keys`](crate::Users::password_keys) after the keyring or the features have changed: users whose
    /// hash is like it can not log in. It is counted like other failures, but not for the stop of the account.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let client = Client::new().device("laptop").ip("127.0.0.1".parse().expect("an address"));
    /// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
    /// assert!(gate.authenticate(login.token()).is_ok());
    /// assert!(gate.login(&Credentials::password("ada", "wrong"), &client).is_err_and(|e| e.is_denied()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn login(&self, credentials: &Credentials, client: &Client) -> Result<Login> {
        self.log_in(credentials, client, None, false)?.done()
    }

    /// The first step of a login: checks the password, and says what else is asked for.
    ///
    /// # Errors
    /// As [`login`](Self::login), but for the refusals, which are [`LoginStep::Denied`].
    pub fn start_login(&self, credentials: &Credentials, client: &Client) -> Result<LoginStep> {
        self.log_in(credentials, client, None, true)
    }

    /// With these roles active, or all. Where the caller can not go on with a challenge, none is made.
    pub(super) fn log_in(
        &self,
        credentials: &Credentials,
        client: &Client,
        roles: Option<&[RoleId]>,
        goes_on: bool,
    ) -> Result<LoginStep> {
        let engine = self.engine();
        let password = credentials.password.expose();
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Error::invalid(
                "password",
                format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
            ));
        }
        client.check()?;
        let admission = match engine.admit(&Attempt::login(&credentials.login, client))? {
            Ok(admission) => admission,
            Err(denial) => return Ok(LoginStep::Denied(denial)),
        };
        let user = engine.user_to_log_in(&credentials.login)?;
        let credential = match &user {
            Some(user) => store::read::<CredentialRecord>(&*engine.store, &user.record.id)?,
            None => None,
        };
        let phc = credential.as_ref().map(|credential| credential.record.phc.as_str());
        let verdict = engine.hasher.judge(password, phc, Source::of(client.ip))?;

        let Some(user) = user else {
            return engine.refuse(None, &Refusal::UnknownName, Methods::NONE, client, Some(&admission));
        };
        let id = user.record.id;
        let Some(credential) = credential else {
            return engine.refuse(Some(id), &Refusal::NoPassword, Methods::NONE, client, Some(&admission));
        };
        let refusal = match verdict {
            Verdict::Right => None,
            Verdict::Wrong => Some(Refusal::WrongPassword),
            Verdict::Unverifiable(why) => Some(Refusal::Unverifiable(why)),
        };
        if let Some(refusal) = refusal {
            return engine.refuse(Some(id), &refusal, Methods::NONE, client, Some(&admission));
        }
        let proved = Proved {
            user: id,
            revision: Some(credential.record.revision),
            methods: Methods::of(Method::Password),
            verified: Some((password, credential.record.phc)),
            roles: roles.map(<[RoleId]>::to_vec),
            replaces: None,
            answered: None,
            link: None,
            #[cfg(feature = "passkeys")]
            assertion: None,
            admission: Some(admission),
        };
        engine.proceed(&proved, client, goes_on)
    }
}
