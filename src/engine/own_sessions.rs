//! What somebody does with their own sessions, by the token of one of them and without an administrator; and labels.
//!
//! Whoever acts as a user sees and ends the session in which that is done, and no other: those others are not theirs. The
//! user sees it among the rest, and can end it.

use super::Portcullis;
use super::bookkeeping::Leftover;
use super::page::{Page, PageRequest};
use super::principal::Principal;
use super::sessions::{Sessions, expect_live_session, read_live_session, stage_end_others};
use super::warrant;
use super::write::{Entry, Plan};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::crypto::{Digest, Presented, Purpose};
use crate::error::{Denial, Error, ErrorKind, Result};
use crate::id::{Key, SessionId};
use crate::session::{self, SESSION_BY_USER, Session, SessionRecord};
use crate::store::{self, Stored};
use crate::text;
use crate::user::UserRecord;

/// A session as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// Whether it is the one in which this was asked.
    pub current: bool,
}

/// The user's own sessions, for a page of settings (OWASP ASVS 5.0, 7.5.2). What is done here is done in the name of the user,
/// or of whoever acts as the user; no permission is asked for.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, NewUser, PageRequest, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let who = Credentials::password("ada", "correct horse battery staple");
/// let [here, there] = [gate.login(&who, &Client::new())?, gate.login(&who, &Client::new())?];
/// let ada = gate.authenticate(here.token())?;
/// ada.label_session(there.session().id, "the old laptop")?;
/// for own in ada.sessions(&PageRequest::default())?.items {
///     println!("{} {}", own.session.label, if own.current { "(this one)" } else { "" });
/// }
/// ada.end_session(there.session().id)?;
/// ada.log_out()?;
/// assert!(gate.authenticate(here.token()).is_err());
/// # Ok(())
/// # }
/// ```
impl Principal<'_> {
    /// The live sessions of the user, by number; only this one for whoever acts as the user.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where this session has ended; `InvalidInput` for a wrong page; the storage kinds.
    pub fn sessions(&self, page: &PageRequest) -> Result<Page<OwnSession>> {
        let own = read_live_session(self.gate.engine(), self.session()).map_err(ended)?;
        let sessions = Sessions { gate: self.gate };
        let found = sessions.page_by(SESSION_BY_USER, &own.record.user.bytes(), page)?;
        Ok(found.filter_map(|session| {
            let current = session.id == self.session();
            (current || self.impersonator().is_none()).then_some(OwnSession { session, current })
        }))
    }

    /// Ends one of the user's sessions.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where this session has ended; `NotFound` for one that has ended, or is somebody
    /// else's, or another one than this for whoever acts as the user; the storage kinds.
    pub fn end_session(&self, id: SessionId) -> Result<()> {
        self.change(|plan, own| {
            let old = self.one_of_own(plan, own, id)?;
            plan.batch.remove(&old);
            let entry = Entry::of(Subject::User(old.record.user)).and(Subject::Session(id));
            plan.record(AuditKind::SessionRevoked, entry.detail("by its user"))
        })
    }

    /// Ends every session of the user but this one, and every login under way.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where this session has ended, and with [`Denial::Impersonated`] for whoever acts as the
    /// user; the storage kinds.
    pub fn end_other_sessions(&self) -> Result<()> {
        self.change(|plan, own| {
            if own.record.impersonator.is_some() {
                return Err(Error::denied(Denial::Impersonated));
            }
            stage_end_others(plan, own)
        })?;
        self.gate.engine().sweep_after(Leftover::Sessions(self.user()));
        Ok(())
    }

    /// Gives one of the user's sessions a label: at most 128 bytes, perhaps empty.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where this session has ended; `NotFound` as of [`end_session`](Self::end_session);
    /// `InvalidInput` for a label that breaks a rule; the storage kinds.
    pub fn label_session(&self, id: SessionId, label: &str) -> Result<()> {
        self.change(|plan, own| {
            let old = self.one_of_own(plan, own, id)?;
            stage_label(plan, &old, label)
        })
    }

    /// Ends this session; false where it had ended already.
    ///
    /// # Errors
    /// The storage kinds.
    pub fn log_out(&self) -> Result<bool> {
        self.gate.end_presented(self.session(), None)
    }

    /// Changes something in the name of whoever is in this session, if it is live.
    fn change(
        &self,
        mut stage: impl FnMut(&mut Plan<'_>, &Stored<SessionRecord>) -> Result<()>,
    ) -> Result<()> {
        let engine = self.gate.engine();
        let actor = Actor::User(self.impersonator().unwrap_or_else(|| self.user()));
        engine.write(actor, |plan| {
            let own = expect_live_session(engine, plan, self.session()).map_err(ended)?;
            stage(plan, &own)
        })?;
        Ok(())
    }

    /// A session that whoever is in this one may see.
    fn one_of_own(
        &self,
        plan: &mut Plan<'_>,
        own: &Stored<SessionRecord>,
        id: SessionId,
    ) -> Result<Stored<SessionRecord>> {
        if id == own.record.id {
            return Ok(own.clone());
        }
        let other = expect_live_session(self.gate.engine(), plan, id)?;
        match other.record.user == own.record.user && own.record.impersonator.is_none() {
            true => Ok(other),
            false => Err(Error::not_found("session", id)),
        }
    }
}

fn ended(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { Error::denied(Denial::Session) } else { error }
}

fn stage_label(plan: &mut Plan<'_>, old: &Stored<SessionRecord>, label: &str) -> Result<()> {
    text::plain("session.label", label, text::MAX_NAME)?;
    plan.batch.replace(old, &SessionRecord { label: label.to_owned(), ..old.record.clone() })?;
    let entry = Entry::of(Subject::User(old.record.user)).and(Subject::Session(old.record.id));
    plan.record(AuditKind::SessionLabelled, entry.detail(label))
}

impl Sessions<'_> {
    /// Gives a session a label: at most 128 bytes, perhaps empty.
    ///
    /// # Errors
    /// `NotFound` where it is not live; `InvalidInput` for a label that breaks a rule; the storage kinds.
    pub fn set_label(&self, id: SessionId, label: &str) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = expect_live_session(engine, plan, id)?;
            warrant::may_administer(plan, old.record.user, "label a session")?;
            stage_label(plan, &old, label)
        })?;
        Ok(())
    }
}

impl Portcullis {
    /// Ends the session of a token; false where the token opens none, whatever is wrong with it. It asks no
    /// [context rule](crate::ContextRule), and ends one that has gone idle, too, so that nobody can resume it.
    ///
    /// # Errors
    /// The storage kinds.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
    /// assert!(gate.log_out(login.token())?);
    /// assert!(!gate.log_out(login.token())?);
    /// assert!(gate.authenticate(login.token()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn log_out(&self, token: impl AsRef<str>) -> Result<bool> {
        match Presented::parse_as(Purpose::Session, token.as_ref()) {
            Some(presented) => self.end_presented(presented.id(), Some(presented.digest())),
            None => Ok(false),
        }
    }

    /// Ends a session by its token, or by what has accepted it before.
    fn end_presented(&self, id: SessionId, digest: Option<Digest>) -> Result<bool> {
        let (ended, _) = self.engine().write(Actor::System, |plan| {
            let Some(old) = store::read::<SessionRecord>(plan.store, &id)? else { return Ok(false) };
            let session = &old.record;
            if digest.is_some_and(|digest| digest != Digest(session.digest)) {
                return Ok(false);
            }
            let account = store::read::<UserRecord>(plan.store, &session.user)?;
            // What has ended with others is not ended again.
            if account.is_none_or(|account| session.generation < account.record.generation)
                || !session::is_of_era(session.era, session::era(plan.store)?)
                || session.expires <= plan.now
            {
                return Ok(false);
            }
            plan.batch.remove(&old);
            let by = Actor::User(session.impersonator.as_ref().map_or(session.user, |by| by.user));
            let entry = Entry::of(Subject::User(session.user)).and(Subject::Session(id)).detail("logged out");
            plan.record_outcome(AuditKind::SessionRevoked, Outcome::Success, by, entry)?;
            Ok(true)
        })?;
        Ok(ended)
    }
}
