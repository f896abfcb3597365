//! Acting as another user: how it begins, what it leaves to the user alone, and whose names the audit log has.

#[cfg(test)]
mod between;
mod checks;

pub(super) use checks::Asked;

use super::authority::each;
use super::events::{Event, EventKind};
use super::login::Login;
use super::principal::Principal;
use super::view::{Answer, ViewTime};
use super::write::{Entry, Mandate, Plan};
use super::{Builder, Engine, Portcullis, duty};
use crate::audit::{Actor, AuditKind, Subject};
use crate::catalog;
use crate::crypto::Token;
use crate::error::{Denial, Error, ErrorKind, Result};
use crate::id::{Key, ScopeId, UserId};
use crate::permission::Permission;
use crate::role;
use crate::session::{
    self, Client, Impersonation, ImpersonationPolicy, Impersonator, SESSION_BY_USER, SessionRecord,
};
use crate::store::{self, Stored};
use crate::user::{self, UserRecord};

/// Most sessions of one user in which others act that end in one commit.
const MOST_ENDED: usize = 24;

impl Builder {
    /// Who may act as another user; nobody may by default. See [`Portcullis::impersonate`].
    pub fn impersonation(mut self, policy: ImpersonationPolicy) -> Self {
        self.impersonation = Some(policy);
        self
    }
}

impl Portcullis {
    /// Opens a session of another user for whoever holds the session of this token: to see what that user sees, and to do
    /// what **both** may do.
    ///
    /// It takes the permission that the [`ImpersonationPolicy`] names, at the home of that user. From then on:
    ///
    /// - **Every check is one of both.** A principal of the new session may what its user may and whoever acts may too,
    ///   in the session in which they began. With [`Impersonation::beyond_own_rights`] it may what the user may, where
    ///   the permission for that is held at the scope of the check. Feature flags are those of the user. [Context
    ///   rules](crate::ContextRule) are asked about both.
    /// - **It ends with the session it was begun in**, at the very next check: when that is revoked, expires or idles
    ///   away, and when whoever acts may no longer log in. It opens nothing while they do not hold the permission. It
    ///   lives for the policy's time at the most. To use it is no use of the other session.
    /// - **It is never nested.** In it nobody can be impersonated.
    /// - **What is the user's alone is refused** with [`Denial::Impersonated`]: a change of the password, and whatever
    ///   else [`Principal::require_self`] stands before.
    /// - **Both names are in the audit log** where the application writes by [`acting_for`](Self::acting_for), and
    ///   [`Audit::by_actor`](crate::Audit::by_actor) finds it under both. The beginning is an
    ///   [`ImpersonationStarted`](AuditKind::ImpersonationStarted) with the reason, and each refusal an
    ///   [`ImpersonationRefused`](AuditKind::ImpersonationRefused).
    /// - **The user can see it**, in the list of their [sessions](crate::Sessions::of_user) with who acts in it, and
    ///   hears of it by an [event](EventKind::Impersonated). It is no login of theirs, and on none of their devices. They
    ///   can revoke it, and so can whoever acts, to be themselves again.
    ///
    /// Its [`methods`](crate::Session::methods) are those of the session that it was begun in: a role of the user's that
    /// asks for two factors asks whoever acts for them.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the token opens no session; with [`Denial::Impersonated`] where it opens one
    /// in which somebody acts already, and for a handle from [`acting_for`](Self::acting_for); with [`Denial::Permission`]
    /// where there is no policy, a permission is not held, or a context rule refuses; with [`Denial::FactorRequired`] where
    /// the user has a role that asks for two factors and the session is one of one; with [`Denial::Delegation`] for a
    /// delegated handle. `InvalidInput` for a reason or a client detail that breaks a rule, for a user who may not log in,
    /// and for oneself; `NotFound` for a user that does not exist; the storage kinds.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, Denial, Impersonation, ImpersonationPolicy, NewUser, Portcullis};
    /// let gate = Portcullis::builder()
    ///     .impersonation(ImpersonationPolicy::new("user:impersonate"))
    ///     .danger_fast_password_hashes() // for this test only
    ///     .in_memory()?;
    /// let names = ["user:impersonate", "order:read", "order:pay"];
    /// let permissions = gate.permissions().define_many(names)?;
    /// let [act, read, pay] = permissions[..] else { panic!("three were defined") };
    /// let support = gate.roles().create("support", [act, read])?;
    /// let customer = gate.roles().create("customer", [read, pay])?;
    /// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
    /// let bob = gate.users().create(NewUser::new("bob"))?.id;
    /// gate.roles().assign(ada, support)?;
    /// gate.roles().assign(bob, customer)?;
    ///
    /// let client = Client::new();
    /// let own = gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
    /// let login = gate.impersonate(own.token(), &Impersonation::of(bob, "ticket 4711"), &client)?;
    ///
    /// let principal = gate.authenticate(login.token())?;
    /// assert_eq!((principal.user(), principal.impersonator()), (bob, Some(ada)));
    /// assert!(principal.can(read) && !principal.can(pay)); // what both may
    /// assert_eq!(principal.require_self().unwrap_err().denial(), Some(Denial::Impersonated));
    ///
    /// gate.sessions().revoke(own.session().id)?; // ada logs out
    /// assert!(!principal.can(read) && gate.authenticate(login.token()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn impersonate(
        &self,
        token: impl AsRef<str>,
        whom: &Impersonation,
        client: &Client,
    ) -> Result<Login> {
        client.check()?;
        whom.check()?;
        self.refuse_delegated("act as another user")?;
        let engine = self.engine();
        let principal = self.authenticate_from(token.as_ref(), client)?;
        let by = Mandate::from(Actor::User(principal.user()));
        let by = Mandate { impersonator: principal.impersonator(), ..by };
        let refused = |denial, why: &str| engine.refused_to_act(by, whom.user, denial, why);
        if principal.impersonator().is_some() || self.impersonator.is_some() {
            return Err(refused(Denial::Impersonated, "acts as another user already"));
        }
        let Some(policy) = &engine.impersonation else {
            return Err(refused(Denial::Permission, "no setting says who may"));
        };
        let account = store::read::<UserRecord>(&*engine.store, &whom.user)?;
        let at = account.map_or(ScopeId::ROOT, |account| account.record.home);
        let lacks = |name: &str| refused(Denial::Permission, &format!("lacks \"{name}\" at {at}"));
        let Some(permission) = engine.acts_by(&principal, policy.permission(), at, client)? else {
            return Err(lacks(policy.permission()));
        };
        let beyond = match (whom.beyond, policy.beyond()) {
            (false, _) => None,
            (true, None) => {
                return Err(refused(
                    Denial::Permission,
                    "no setting says who may go beyond their own rights",
                ));
            }
            (true, Some(name)) => match engine.acts_by(&principal, name, at, client)? {
                None => return Err(lacks(name)),
                found => found,
            },
        };
        let (user, session) = (principal.user(), principal.session());
        let record = Impersonator { user, session, permission, at, beyond };
        if whom.user == user {
            return Err(Error::invalid("user", format!("{user} is who asks; one is oneself already")));
        }
        if !engine.permitted_in_context(whom.user, user, client) {
            return Err(refused(Denial::Permission, "a context rule refuses"));
        }
        match engine.write(by, |plan| engine.plan_impersonation(plan, whom, &record, policy, client)) {
            Ok((login, _)) => Ok(login),
            Err(error) => match error.denial() {
                Some(Denial::FactorRequired) => {
                    Err(refused(Denial::FactorRequired, "a role of that user asks for a second factor"))
                }
                _ => Err(error),
            },
        }
    }

    /// The same database, with a principal's user as the actor in the audit log, and who acts as that user, where somebody
    /// does, beside it. As [`acting_as`](Self::acting_as), it does not check what the principal may do. A handle that is
    /// delegated already, or that acts for somebody who is acted as, stays what it is.
    ///
    /// Where somebody acts as the user, it refuses what is that user's alone, with [`Denial::Impersonated`]: to set the
    /// password, to change what one logs in with, to issue one-time tokens, to delete the account or set its status.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// # use portcullis::{Client, Credentials, NewUser, PageRequest, Portcullis};
    /// # let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// # let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
    /// # let who = Credentials::password("ada", "correct horse battery staple");
    /// # let login = gate.login(&who, &Client::new())?;
    /// let principal = gate.authenticate(login.token())?;
    /// gate.acting_for(&principal).scopes().ensure("acme/reports")?;
    /// for record in gate.audit().by_actor(portcullis::Actor::User(ada), &PageRequest::first(9))?.items {
    ///     assert_eq!(record.impersonator, None); // ada herself
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn acting_for(&self, principal: &Principal<'_>) -> Self {
        match self.delegated || self.impersonator.is_some() {
            true => self.clone(),
            false => Self {
                actor: Actor::User(principal.user()),
                impersonator: principal.impersonator(),
                ..self.clone()
            },
        }
    }
}

impl Portcullis {
    /// Refuses what is for the user alone where somebody acts as that user, before work that is dear or is done in nobody's
    /// name; the plan of a change refuses by itself.
    pub(super) fn refuse_as_somebody(&self, user: UserId, what: AuditKind) -> Result<()> {
        match self.impersonator {
            Some(_) if self.actor == Actor::User(user) => Err(self
                .engine()
                .refused_as_somebody(self.actor(), Some((what, Some(Subject::User(user)), None)))),
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// The permission of that name, if the principal holds it at the scope.
    fn acts_by(
        &self,
        principal: &Principal<'_>,
        name: &str,
        at: ScopeId,
        client: &Client,
    ) -> Result<Option<Permission>> {
        let Some(found) = catalog::find(&*self.store, name)? else { return Ok(None) };
        let permission = found.record.permission;
        let (user, session) = (principal.user(), principal.session());
        let by = Impersonator { user, session, permission, at, beyond: None };
        match self.may_act(principal.handle(), &by, permission, client) {
            Answer::Allow => Ok(Some(permission)),
            Answer::Stopped => Err(self.stopped()),
            Answer::Deny | Answer::Gone => Ok(None),
        }
    }

    /// Everything that rows decide. What the view has decided before is decided again at each check.
    fn plan_impersonation(
        &self,
        plan: &mut Plan<'_>,
        whom: &Impersonation,
        by: &Impersonator,
        policy: &ImpersonationPolicy,
        client: &Client,
    ) -> Result<Login> {
        let ended = || Error::denied(Denial::Session);
        let own = store::read::<SessionRecord>(plan.store, &by.session)?.ok_or_else(ended)?;
        let actor = store::read::<UserRecord>(plan.store, &by.user)?.ok_or_else(ended)?;
        let era = session::expect_era(plan.store, &mut plan.batch)?;
        if own.record.generation < actor.record.generation
            || own.record.era != era
            || own.record.expires <= plan.now
            || !actor.record.status.is_active_at(plan.now)
        {
            return Err(ended());
        }
        let account = user::read_user(plan.store, whom.user)?;
        if !account.record.status.is_active_at(plan.now) {
            let message = format!("{} may not log in now, so that nobody can act in their place", whom.user);
            return Err(Error::invalid("user", message));
        }
        account.record.refuse_service("session in which somebody acts as it")?;
        if account.record.home != by.at {
            let message = format!("{} was given another home meanwhile; try again", whom.user);
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if !ViewTime::can_tell(plan.now) {
            let message =
                format!("says {}; sessions can be opened from 2024 to 2091, so set it right", plan.now);
            return Err(Error::new(ErrorKind::Storage, message).with_field("clock"));
        }
        plan.batch.expect_unchanged(&actor);
        plan.batch.expect_unchanged(&own);
        // INVARIANT: rewritten, so that whoever gives the user another home meanwhile plans again and finds this session.
        plan.batch.replace(&account, &account.record.clone())?;
        let store = plan.store;
        let demanded = role::demanded(store, || duty::assigned(store, whom.user, plan.now, false))?;
        if own.record.methods.assurance() < demanded {
            return Err(Error::denied(Denial::FactorRequired));
        }
        let roles = duty::for_new_session(plan, whom.user, None)?;
        let (token, id, digest) = Token::mint(&*self.entropy)?;
        let expires = plan.now.saturating_add(policy.longest()).min(own.record.expires);
        let record = SessionRecord {
            id,
            user: whom.user,
            digest: digest.0,
            generation: account.record.generation,
            created: plan.now,
            seen: plan.now,
            idle_secs: self.limits.idle_secs,
            expires,
            device: client.device.clone(),
            ip: client.ip,
            user_agent: client.user_agent.clone(),
            roles,
            methods: own.record.methods,
            authenticated: own.record.authenticated,
            device_id: None,
            era,
            label: String::new(),
            impersonator: Some(*by),
            elevated: own.record.elevated,
            family: None,
        };
        plan.batch.insert(&record)?;
        let told = Event { session: Some(id), ..Event::of(whom.user, EventKind::Impersonated(by.user)) };
        plan.notify(told.from(client));
        let how = if by.beyond.is_some() { "beyond own rights: " } else { "" };
        let entry = Entry::of(Subject::User(whom.user)).and(Subject::Session(id));
        let entry = entry.detail(format!("{how}{}", whom.reason));
        plan.record(AuditKind::ImpersonationStarted, entry)?;
        Ok(Login::bare(token, record.into()))
    }

    /// Writes down that somebody was refused to act as a user.
    fn refused_to_act(&self, by: Mandate, user: UserId, denial: Denial, why: &str) -> Error {
        let tried = Entry::of(Subject::User(user)).detail(why);
        let written = self.refusal(by, AuditKind::ImpersonationRefused, tried);
        if written.is_denied() { Error::denied(denial) } else { written }
    }

    /// Writes down what somebody was refused who acts as another user.
    pub(super) fn refused_as_somebody(
        &self,
        by: Mandate,
        tried: Option<(AuditKind, Option<Subject>, Option<Subject>)>,
    ) -> Error {
        let mut entry = Entry::default();
        if let Some((kind, subject, object)) = tried {
            entry = Entry { subject, object, detail: kind.name().to_owned() };
        }
        self.refusal(by, AuditKind::ImpersonationRefused, entry)
    }

    /// Refuses what is for the user alone where somebody else acts in their place, and writes that down.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Impersonated`]; the storage kinds.
    pub(super) fn require_self(&self, principal: &Principal<'_>, what: AuditKind) -> Result<()> {
        let Some(impersonator) = principal.impersonator() else { return Ok(()) };
        let actor = Actor::User(principal.user());
        let by = Mandate { impersonator: Some(impersonator), ..Mandate::from(actor) };
        let (subject, object) = (Subject::User(principal.user()), Subject::Session(principal.session()));
        Err(self.refused_as_somebody(by, Some((what, Some(subject), Some(object)))))
    }
}

impl Plan<'_> {
    /// Refuses what is for the user alone where somebody acts as that user.
    pub(super) fn refuse_what_is_the_users(&self, kind: AuditKind, subject: Option<Subject>) -> Result<()> {
        let theirs = matches!(
            kind,
            AuditKind::PasswordChange
                | AuditKind::UserDeleted
                | AuditKind::UserStatusChanged
                | AuditKind::TicketIssued
                | AuditKind::FactorEnrolling
                | AuditKind::FactorEnrolled
                | AuditKind::FactorRemoved
                | AuditKind::RecoveryCodesIssued
                | AuditKind::PasskeyRegistered
                | AuditKind::PasskeyRemoved
                | AuditKind::ApiKeyCreated
                | AuditKind::ApiKeyUpdated
                | AuditKind::ApiKeyRotated
                | AuditKind::ImpersonationStarted
        );
        match (self.impersonator, self.actor, subject) {
            (Some(_), Actor::User(actor), Some(Subject::User(user))) if theirs && actor == user => {
                Err(Error::denied(Denial::Impersonated))
            }
            _ => Ok(()),
        }
    }

    /// The same for what would be told to the user as a change of what one logs in with.
    pub(super) fn refuse_what_would_be_told(&self) -> Result<()> {
        if self.impersonator.is_none() {
            return Ok(());
        }
        let theirs = |event: &Event| {
            event.user.map(Actor::User) == Some(self.actor)
                && matches!(event.kind, EventKind::LoginNameChanged | EventKind::ContactChanged(_))
        };
        if self.events.iter().any(theirs) { Err(Error::denied(Denial::Impersonated)) } else { Ok(()) }
    }
}

/// Ends the sessions of a user in which others act: who may act as whom was decided at the home that the user had.
pub(super) fn before_another_home(plan: &mut Plan<'_>, user: UserId) -> Result<()> {
    let mut ends: Vec<Stored<SessionRecord>> = Vec::new();
    each(plan.store, SESSION_BY_USER, &user.bytes(), |row: &Stored<SessionRecord>| {
        if row.record.impersonator.is_some() {
            ends.push(row.clone());
        }
        Ok(ends.len() <= MOST_ENDED)
    })?;
    if ends.len() > MOST_ENDED {
        let message =
            format!("more than {MOST_ENDED} sessions in which others act as {user}; revoke them first");
        return Err(Error::limit("home", message));
    }
    if !ends.is_empty() {
        let detail = "those in which others act: another home";
        plan.record(AuditKind::SessionsRevoked, Entry::of(Subject::User(user)).detail(detail))?;
    }
    ends.iter().for_each(|session| plan.batch.remove(session));
    Ok(())
}

impl Principal<'_> {
    /// Refuses what is for the user alone where [somebody else](Self::impersonator) acts in their place. Ask it before
    /// whatever changes how the user logs in by a call that takes the number of a user, and before what else only they
    /// should do.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Impersonated`].
    pub const fn require_self(&self) -> Result<()> {
        match self.impersonator() {
            None => Ok(()),
            Some(_) => Err(Error::denied(Denial::Impersonated)),
        }
    }
}
