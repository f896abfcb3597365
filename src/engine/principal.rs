//! The read path: from a token to a principal, and from a principal or a user to a decision. No lock that a writer
//! holds across I/O, no allocation, no storage.

use super::accept::Accepted;
use super::context::Asker;
use super::impersonation::Asked;
use super::view::{Answer, SessionHandle, ViewTime};
use super::{Engine, Portcullis};
use crate::clock::Timestamp;
use crate::crypto::Purpose;
use crate::error::{Denial, Error, Result};
use crate::id::{ApiKeyId, Flag, ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::session::Client;
use std::fmt;

/// The answer to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, and why.
    Deny(Denial),
}

impl Decision {
    /// True for a yes.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// Somebody whose token was accepted; it can be had in no other way.
///
/// It keeps no copy of any right: each question is answered from the present state, so that a revocation takes
/// effect on the next one. It borrows the handle that made it.
#[derive(Clone, Copy)]
pub struct Principal<'g> {
    pub(super) gate: &'g Portcullis,
    session: SessionHandle,
    user: UserId,
    /// Whether it came with an API key.
    keyed: bool,
    /// Who acts as the user, where somebody else does.
    impersonator: Option<UserId>,
    /// Where this request comes from, for context rules.
    client: Option<&'g Client>,
}

impl fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Principal");
        shown.field("user", &self.user);
        match self.key() {
            Some(key) => shown.field("key", &key).finish(),
            None => shown.field("session", &self.session()).finish(),
        }
    }
}

impl Principal<'_> {
    /// Who it is.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The API key that was presented, where it was one.
    #[must_use]
    pub const fn key(&self) -> Option<ApiKeyId> {
        if self.keyed { Some(ApiKeyId::from_number(self.session.id().get())) } else { None }
    }

    /// The session that the token opened. Where an API key was presented there is none: this is then the number of a session
    /// that does not exist, for every call that takes one.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session.id()
    }

    /// Who acts as [`user`](Self::user), where somebody else does.
    #[must_use]
    pub const fn impersonator(&self) -> Option<UserId> {
        self.impersonator
    }

    /// The instant at which the session ends unless it is used before then; `None` once it has ended. See
    /// [`Sessions::live_until`](crate::Sessions::live_until).
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn live_until(&self) -> Result<Option<Timestamp>> {
        self.gate.engine().live_until(self.session())
    }

    pub(super) const fn handle(&self) -> SessionHandle {
        self.session
    }

    /// Whether the principal may do this now. False too once the session has ended, or the database has stopped.
    #[must_use]
    #[inline]
    pub fn can(&self, permission: Permission) -> bool {
        self.answer(permission) == Answer::Allow
    }

    /// Whether the principal may do all of this now, decided at one moment.
    #[must_use]
    pub fn can_all(&self, permissions: &PermissionSet) -> bool {
        let engine = self.gate.engine();
        let answer = engine.view.session_has_all(self.session, permissions, engine.seconds());
        let answer = engine.in_context_of_all(answer, || self.asker(), permissions, ScopeId::ROOT);
        self.of_both(answer, Asked::All(permissions), ScopeId::ROOT) == Answer::Allow
    }

    /// Whether the principal may do this now at a scope: through what is held there, above it, and everywhere.
    #[must_use]
    #[inline]
    pub fn can_at(&self, permission: Permission, scope: ScopeId) -> bool {
        self.answer_at(permission, scope) == Answer::Allow
    }

    /// Whether the principal may do all of this now at a scope, decided at one moment.
    #[must_use]
    pub fn can_all_at(&self, permissions: &PermissionSet, scope: ScopeId) -> bool {
        let engine = self.gate.engine();
        let answer = engine.view.session_has_all_at(self.session, permissions, scope, engine.seconds());
        let answer = engine.in_context_of_all(answer, || self.asker(), permissions, scope);
        self.of_both(answer, Asked::All(permissions), scope) == Answer::Allow
    }

    /// Whether the principal may do this at a scope on behalf of somebody: what both may do there now, and nothing
    /// that only one of them may. See [`Portcullis::check_on_behalf_of`].
    #[must_use]
    pub fn can_on_behalf_of(&self, subject: UserId, permission: Permission, scope: ScopeId) -> bool {
        self.check_on_behalf_of(subject, permission, scope).is_ok_and(Decision::is_allowed)
    }

    /// Whether a feature flag is on for the principal now, without a scope. False too for a flag that does not exist,
    /// once the session has ended, or the database has stopped. [`Flags`](crate::Flags) has the order of decision.
    #[must_use]
    #[inline]
    pub fn is_enabled(&self, flag: Flag) -> bool {
        self.is_enabled_at(flag, ScopeId::ROOT)
    }

    /// As [`is_enabled`](Self::is_enabled), at a scope: with what holds there, above it, and everywhere. False for a
    /// scope that does not exist.
    #[must_use]
    #[inline]
    pub fn is_enabled_at(&self, flag: Flag, scope: ScopeId) -> bool {
        let engine = self.gate.engine();
        let answer = engine.view.flag_of_session(flag, self.session, scope, engine.seconds());
        self.of_both(answer, Asked::Standing, scope) == Answer::Allow
    }

    /// As [`can_at`](Self::can_at), telling a refusal from an outage.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn check_at(&self, permission: Permission, scope: ScopeId) -> Result<Decision> {
        self.decide(self.answer_at(permission, scope))
    }

    /// As [`can`](Self::can), telling a refusal from an outage.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn check(&self, permission: Permission) -> Result<Decision> {
        self.decide(self.answer(permission))
    }

    #[inline]
    fn decide(&self, answer: Answer) -> Result<Decision> {
        match answer {
            Answer::Gone if self.keyed => Ok(Decision::Deny(Denial::ApiKey)),
            answer => self.gate.engine().decide(answer),
        }
    }

    /// As [`can_on_behalf_of`](Self::can_on_behalf_of), telling a refusal from an outage.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn check_on_behalf_of(
        &self,
        subject: UserId,
        permission: Permission,
        scope: ScopeId,
    ) -> Result<Decision> {
        match self.check_at(permission, scope)? {
            Decision::Allow => self.gate.check_at(subject, permission, scope),
            refusal @ Decision::Deny(_) => Ok(refusal),
        }
    }

    /// As [`check`](Self::check), with every refusal as an error, to be used with `?`.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Permission`], [`Denial::Session`] or [`Denial::ApiKey`]; `Stopped` after a storage failure.
    pub fn require(&self, permission: Permission) -> Result<()> {
        match self.check(permission)? {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) => Err(Error::denied(reason)),
        }
    }

    #[inline]
    fn answer(&self, permission: Permission) -> Answer {
        let engine = self.gate.engine();
        let answer = engine.view.check_session(self.session, permission, engine.seconds());
        let answer = engine.in_context(answer, || self.asker(), Some(permission), ScopeId::ROOT);
        self.of_both(answer, Asked::One(permission), ScopeId::ROOT)
    }

    #[inline]
    fn answer_at(&self, permission: Permission, scope: ScopeId) -> Answer {
        let engine = self.gate.engine();
        let answer = engine.view.check_session_at(self.session, permission, scope, engine.seconds());
        let answer = engine.in_context(answer, || self.asker(), Some(permission), scope);
        self.of_both(answer, Asked::One(permission), scope)
    }

    /// Where somebody acts as the user: what is left of the user's answer.
    #[inline]
    fn of_both(&self, answer: Answer, asked: Asked<'_>, scope: ScopeId) -> Answer {
        match self.impersonator {
            None => answer,
            Some(_) => self.gate.engine().answer_for_both(answer, self.session(), asked, scope, self.client),
        }
    }

    #[inline]
    const fn asker(&self) -> Asker<'_> {
        let (user, client, impersonator) = (self.user, self.client, self.impersonator);
        match self.key() {
            key @ Some(_) => Asker { user, session: None, key, client, impersonator },
            None => Asker { user, session: Some(self.session()), key: None, client, impersonator },
        }
    }
}

impl Portcullis {
    /// Accepts a session token: the hot path of a service.
    ///
    /// It counts as a use of the session: the idle limit starts anew.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] for a token that opens no live session, whatever is wrong with it;
    /// `Stopped` after a storage failure. Neither is worth a retry.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Denial, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// assert_eq!(gate.authenticate("no token").err().and_then(|e| e.denial()), Some(Denial::Session));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn authenticate(&self, token: impl AsRef<str>) -> Result<Principal<'_>> {
        let accepted = self.engine().accept_session(token.as_ref(), None)?;
        Ok(self.principal(accepted, None))
    }

    /// As [`authenticate`](Self::authenticate), for a request that no person has made, such as the polling of an open tab: it
    /// does not count as a use, so that the session goes idle in spite of it.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    #[inline]
    pub fn authenticate_passive(&self, token: impl AsRef<str>) -> Result<Principal<'_>> {
        let accepted = self.engine().accept(Purpose::Session, token.as_ref(), None)?.0;
        Ok(self.principal(accepted, None))
    }

    /// As [`authenticate_passive`](Self::authenticate_passive), with where this request comes from.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    #[inline]
    pub fn authenticate_passive_from<'g>(
        &'g self,
        token: impl AsRef<str>,
        client: &'g Client,
    ) -> Result<Principal<'g>> {
        let accepted = self.engine().accept(Purpose::Session, token.as_ref(), Some(client))?.0;
        Ok(self.principal(accepted, Some(client)))
    }

    /// As [`authenticate`](Self::authenticate), with where this request comes from, for
    /// [context rules](crate::ContextRule) to look at here and at each check by the principal. Nothing of it is stored.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    #[inline]
    pub fn authenticate_from<'g>(
        &'g self,
        token: impl AsRef<str>,
        client: &'g Client,
    ) -> Result<Principal<'g>> {
        let accepted = self.engine().accept_session(token.as_ref(), Some(client))?;
        Ok(self.principal(accepted, Some(client)))
    }

    #[inline]
    pub(super) fn principal<'g>(&'g self, accepted: Accepted, client: Option<&'g Client>) -> Principal<'g> {
        let Accepted { session, user, keyed, impersonator } = accepted;
        Principal { gate: self, session, user, keyed, impersonator, client }
    }

    /// Whether a user holds a permission now, through any of the roles assigned to the user and what those inherit.
    /// Somebody who may not log in holds none, and neither does a user that does not exist.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    #[inline]
    pub fn check(&self, user: UserId, permission: Permission) -> Result<Decision> {
        let engine = self.engine();
        let answer = engine.view.check_user(user, permission, engine.seconds());
        engine.decide(engine.in_context(answer, || Asker::user(user), Some(permission), ScopeId::ROOT))
    }

    /// Whether a user holds a permission now at a scope: through what is held there, above it, and everywhere. A
    /// denial on any of these levels decides. Nobody holds anything at a scope that does not exist.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    #[inline]
    pub fn check_at(&self, user: UserId, permission: Permission, scope: ScopeId) -> Result<Decision> {
        let engine = self.engine();
        let answer = engine.view.check_user_at(user, permission, scope, engine.seconds());
        engine.decide(engine.in_context(answer, || Asker::user(user), Some(permission), scope))
    }

    /// Whether a feature flag is on for a user now, without a scope. False too for a flag or a user that does not exist,
    /// and for whoever may not log in. [`Flags`](crate::Flags) has the order of decision.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    #[inline]
    pub fn is_enabled(&self, flag: Flag, user: UserId) -> Result<bool> {
        self.is_enabled_at(flag, user, ScopeId::ROOT)
    }

    /// As [`is_enabled`](Self::is_enabled), at a scope: with what holds there, above it, and everywhere. False for a
    /// scope that does not exist.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    #[inline]
    pub fn is_enabled_at(&self, flag: Flag, user: UserId, scope: ScopeId) -> Result<bool> {
        let engine = self.engine();
        match engine.view.flag_of_user(flag, user, scope, engine.seconds()) {
            Answer::Stopped => Err(engine.stopped()),
            answer => Ok(answer == Answer::Allow),
        }
    }

    /// As [`check`](Self::check), for several permissions at one moment.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn check_all(&self, user: UserId, permissions: &PermissionSet) -> Result<Decision> {
        let engine = self.engine();
        let answer = engine.view.user_has_all(user, permissions, engine.seconds());
        engine.decide(engine.in_context_of_all(answer, || Asker::user(user), permissions, ScopeId::ROOT))
    }

    /// As [`check_at`](Self::check_at), for several permissions at one moment.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn check_all_at(
        &self,
        user: UserId,
        permissions: &PermissionSet,
        scope: ScopeId,
    ) -> Result<Decision> {
        let engine = self.engine();
        let answer = engine.view.user_has_all_at(user, permissions, scope, engine.seconds());
        engine.decide(engine.in_context_of_all(answer, || Asker::user(user), permissions, scope))
    }

    /// Whether a delegate may do this at a scope on behalf of a subject: only what both may do there now. The subject is
    /// whoever the request began with, the delegate the service or person that carries it out, and no delegate can do
    /// with the rights of its own what the subject may not (OWASP ASVS 5.0 8.3.3). [`ScopeId::ROOT`] is everywhere.
    ///
    /// The two halves are read one after the other, the delegate's first, each as it is at that moment, so that neither
    /// is ever stale: a right that was taken from one of the two before this call is missed, and one that is taken while
    /// it runs may be seen or not, as with any check. A yes says that each of the two might at a moment of this call,
    /// which need not be the same moment.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{NewUser, Portcullis, ScopeId};
    /// let gate = Portcullis::in_memory()?;
    /// let [read, write] = [gate.permissions().define("report:read")?, gate.permissions().define("report:write")?];
    /// let both = gate.roles().create("author", [read, write])?;
    /// let viewer = gate.roles().create("viewer", [read])?;
    /// let [exporter, ada] = [gate.users().create(NewUser::new("exporter"))?.id, gate.users().create(NewUser::new("ada"))?.id];
    /// gate.roles().assign(exporter, both)?;
    /// gate.roles().assign(ada, viewer)?;
    /// assert!(gate.check_on_behalf_of(exporter, ada, read, ScopeId::ROOT)?.is_allowed());
    /// assert!(!gate.check_on_behalf_of(exporter, ada, write, ScopeId::ROOT)?.is_allowed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_on_behalf_of(
        &self,
        delegate: UserId,
        subject: UserId,
        permission: Permission,
        scope: ScopeId,
    ) -> Result<Decision> {
        match self.check_at(delegate, permission, scope)? {
            Decision::Allow => self.check_at(subject, permission, scope),
            refusal @ Decision::Deny(_) => Ok(refusal),
        }
    }
}

impl Engine {
    #[inline]
    pub(super) fn seconds(&self) -> ViewTime {
        ViewTime::from(self.now())
    }

    #[inline]
    fn decide(&self, answer: Answer) -> Result<Decision> {
        match answer {
            Answer::Allow => Ok(Decision::Allow),
            Answer::Deny => Ok(Decision::Deny(Denial::Permission)),
            Answer::Gone => Ok(Decision::Deny(Denial::Session)),
            Answer::Stopped => Err(self.stopped()),
        }
    }

    /// An outage is never told as a refusal.
    #[cold]
    pub(super) fn refuse_token(&self, purpose: Purpose) -> Error {
        match purpose {
            _ if self.view.is_stopped() => self.stopped(),
            Purpose::ApiKey => Error::denied(Denial::ApiKey),
            _ => Error::denied(Denial::Session),
        }
    }

    #[cold]
    pub(super) fn stopped(&self) -> Error {
        Error::stopped(self.view.why_stopped())
    }
}
