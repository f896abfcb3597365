//! Login: from a name and a password to a session and its token.

use super::view::ViewTime;
use super::write::Entry;
use super::{Engine, Portcullis, duty};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::credential::CredentialRecord;
use crate::crypto::{MAX_PASSWORD_BYTES, Source, Token};
use crate::error::{Denial, Error, ErrorKind, Result};
use crate::id::{RoleId, UserId};
use crate::secret::SecretText;
use crate::session::{Client, Session, SessionRecord};
use crate::store::{self, Stored};
use crate::text;
use crate::user::{self, UserRecord};
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

/// A login that succeeded: the only place where a token is ever seen.
#[derive(Debug)]
pub struct Login {
    token: Token,
    session: Session,
}

impl Login {
    /// The token to hand to the client; it can not be had again.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
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
}

/// The true reason of a refusal, for the audit log only.
pub(super) enum Refusal {
    UnknownName,
    NoPassword,
    WrongPassword,
    NotActive(String),
    Changed,
    /// The rule of that number.
    Context(usize),
}

impl Refusal {
    fn detail(&self) -> String {
        match self {
            // The name is left out: people type their password into the wrong field.
            Self::UnknownName => "unknown login name".to_owned(),
            Self::NoPassword => "the user has no password".to_owned(),
            Self::WrongPassword => "wrong password".to_owned(),
            Self::NotActive(status) => status.clone(),
            Self::Changed => "the password changed while it was verified".to_owned(),
            Self::Context(number) => format!("refused by context rule {number}"),
        }
    }
}

pub(super) fn status_detail(user: &UserRecord) -> String {
    match &user.status.reason {
        Some(reason) => format!("{:?}: {reason}", user.status.kind),
        None => format!("{:?}", user.status.kind),
    }
}

impl Portcullis {
    /// Opens a session for whoever knows the password of an active account.
    ///
    /// Every refusal looks alike and costs one password hash, whether the name is unknown, the password is wrong or
    /// the account is disabled; the audit log has the reason. An unknown name costs the present
    /// [`PasswordCost`](crate::PasswordCost); after that was changed, a user whose hash is older is told from it by time
    /// until the next login, which hashes the password anew. The session and its audit record are durable when this
    /// returns.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Credentials`]; `InvalidInput` for a password above 1,024 bytes or a client detail that
    /// breaks a rule, before any hash is computed; `Busy` where the admission gate is full; the storage kinds.
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
        self.log_in(credentials, client, None)
    }

    /// With these roles active, or all.
    pub(super) fn log_in(
        &self,
        credentials: &Credentials,
        client: &Client,
        roles: Option<&[RoleId]>,
    ) -> Result<Login> {
        let engine = self.engine();
        let password = credentials.password.expose();
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Error::invalid(
                "password",
                format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
            ));
        }
        client.check()?;
        let user = engine.user_to_log_in(&credentials.login)?;
        let credential = match &user {
            Some(user) => store::read::<CredentialRecord>(&*engine.store, &user.record.id)?,
            None => None,
        };
        let phc = credential.as_ref().map(|credential| credential.record.phc.as_str());
        let source = Source::of(client.ip);
        let verified = engine.hasher.verify(password, phc, source)?;

        let Some(user) = user else { return engine.refuse(None, &Refusal::UnknownName) };
        let id = user.record.id;
        let Some(credential) = credential else { return engine.refuse(Some(id), &Refusal::NoPassword) };
        if !verified {
            return engine.refuse(Some(id), &Refusal::WrongPassword);
        }
        if let Some(refusal) = engine.refused_in_context(id, client)? {
            return engine.refuse(Some(id), &refusal);
        }
        let upgraded = engine.hasher.upgrade(password, &credential.record.phc, source)?;
        match engine.open_session(id, &credential.record, upgraded.as_deref(), client, roles) {
            Ok(Ok(login)) => Ok(login),
            Ok(Err(refusal)) => engine.refuse(Some(id), &refusal),
            // The password was right, so that the reason can be told; the log has it, too.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::SeparationOfDuty) => {
                engine.record_refusal(Some(id), &error.to_string())?;
                engine.report_violation(Actor::User(id), Subject::User(id), Err(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Engine {
    /// A name that can not be one is as unknown as one that nobody has.
    fn user_to_log_in(&self, login: &str) -> Result<Option<Stored<UserRecord>>> {
        match text::canonical_login(login) {
            Ok(canonical) => store::find(&*self.store, user::USER_BY_LOGIN, &store::index_prefix(&canonical)),
            Err(_) => Ok(None),
        }
    }

    /// The account is read again, after the hash that took milliseconds, and its row and the credential's are
    /// expected unchanged by the commit: who was disabled meanwhile gets no session.
    fn open_session(
        &self,
        user: UserId,
        verified: &CredentialRecord,
        upgraded: Option<&str>,
        client: &Client,
        roles: Option<&[RoleId]>,
    ) -> Result<Result<Login, Refusal>> {
        let (login, _) = self.write(Actor::User(user), |plan| {
            let Some(account) = store::read::<UserRecord>(plan.store, &user)? else {
                return Ok(Err(Refusal::UnknownName));
            };
            let credential = match store::read::<CredentialRecord>(plan.store, &user)? {
                Some(credential) if credential.record.revision == verified.revision => credential,
                _ => return Ok(Err(Refusal::Changed)),
            };
            if !account.record.status.is_active_at(plan.now) {
                return Ok(Err(Refusal::NotActive(status_detail(&account.record))));
            }
            if !ViewTime::can_tell(plan.now) {
                let message =
                    format!("says {}; sessions can be opened from 2024 to 2091, so set it right", plan.now);
                return Err(Error::new(ErrorKind::Storage, message).with_field("clock"));
            }
            plan.batch.expect_unchanged(&account);
            match upgraded {
                // The password is the one that was verified, so its hash may be made anew at the present cost.
                Some(phc) if credential.record.phc == verified.phc => {
                    let new = CredentialRecord { phc: phc.to_owned(), ..credential.record.clone() };
                    plan.batch.replace(&credential, &new)?;
                }
                _ => plan.batch.expect_unchanged(&credential),
            }
            let roles = duty::for_new_session(plan, user, roles)?;
            let (token, id, digest) = Token::mint(&*self.entropy)?;
            let record = SessionRecord {
                id,
                user,
                digest: digest.0,
                generation: account.record.generation,
                created: plan.now,
                seen: plan.now,
                idle_secs: self.limits.idle_secs,
                expires: plan.now.saturating_add(self.limits.absolute),
                device: client.device.clone(),
                ip: client.ip,
                user_agent: client.user_agent.clone(),
                roles,
            };
            plan.batch.insert(&record)?;
            let mut detail = client.ip.map(|ip| format!("from {ip}")).unwrap_or_default();
            if let Some(roles) = &record.roles {
                let named: Vec<String> = roles.iter().map(RoleId::to_string).collect();
                detail = format!(
                    "{detail} with {} active",
                    if named.is_empty() { "no role".to_owned() } else { named.join(", ") }
                );
            }
            let detail = detail.trim_start();
            let entry = Entry::of(Subject::User(user)).and(Subject::Session(id)).detail(detail);
            plan.record(AuditKind::LoginSuccess, entry)?;
            Ok(Ok(Login { token, session: record.into() }))
        })?;
        Ok(login)
    }

    /// Writes down the true reason and answers the one that everybody gets.
    fn refuse<T>(&self, user: Option<UserId>, refusal: &Refusal) -> Result<T> {
        self.record_refusal(user, &refusal.detail())?;
        Err(Error::denied(Denial::Credentials))
    }

    fn record_refusal(&self, user: Option<UserId>, detail: &str) -> Result<()> {
        self.write(Actor::Anonymous, |plan| {
            let entry = Entry { subject: user.map(Subject::User), object: None, detail: detail.to_owned() };
            plan.record_outcome(AuditKind::LoginFailure, Outcome::Denied, Actor::Anonymous, entry)
        })?;
        Ok(())
    }
}
