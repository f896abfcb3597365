//! Which roles are active in a session.

use super::duty::{self, MAX_SELECTED};
use super::sessions::{Sessions, read_live_session};
use super::write::{Entry, Mandate};
use super::{Engine, Portcullis, demand, warrant};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RoleId, ScopeId, SessionId};
use crate::permission::PermissionSet;
use crate::role;
use crate::scope;
use crate::session::{Client, SessionRecord};
use crate::user;
use std::collections::BTreeSet;

use super::login::{Credentials, Login};

impl Portcullis {
    /// As [`login`](Self::login), with some of the user's roles active and no others: least privilege (CreateSession of
    /// ANSI INCITS 359).
    ///
    /// A role is active with all that it inherits from, at the scopes at which the user holds it; one that the user holds
    /// by way of a role above it can be named, too. Permissions that were given without a role are not active in such a
    /// session. Denials hold whichever roles are active.
    ///
    /// # Errors
    /// As [`login`](Self::login), and once the password was found right: `NotFound` for a role that the user does not
    /// have now; `SeparationOfDuty` for roles that may not be active together; `LimitExceeded` beyond 256 roles.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis};
    /// let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// let [read, drop] = ["data:read", "data:drop"].map(|name| gate.permissions().define(name));
    /// let (read, drop) = (read?, drop?);
    /// let analyst = gate.roles().create("analyst", [read])?;
    /// let admin = gate.roles().create("admin", [drop])?;
    /// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
    /// gate.roles().assign(ada, analyst)?;
    /// gate.roles().assign(ada, admin)?;
    ///
    /// let who = Credentials::password("ada", "correct horse battery staple");
    /// let login = gate.login_with_roles(&who, &Client::new(), [analyst])?;
    /// let principal = gate.authenticate(login.token())?;
    /// assert!(principal.can(read) && !principal.can(drop));
    /// gate.sessions().activate(principal.session(), admin)?; // for the moment in which it is needed
    /// assert!(principal.can(drop));
    /// gate.sessions().deactivate(principal.session(), admin)?;
    /// assert!(!principal.can(drop));
    /// # Ok(())
    /// # }
    /// ```
    pub fn login_with_roles(
        &self,
        credentials: &Credentials,
        client: &Client,
        roles: impl IntoIterator<Item = RoleId>,
    ) -> Result<Login> {
        let roles: BTreeSet<RoleId> = roles.into_iter().collect();
        check_number(&roles)?;
        let roles: Vec<RoleId> = roles.into_iter().collect();
        self.log_in(credentials, client, Some(&roles), false)?.done()
    }
}

fn check_number(roles: &BTreeSet<RoleId>) -> Result<()> {
    if roles.len() <= MAX_SELECTED {
        return Ok(());
    }
    let message = format!("are {}; at most {MAX_SELECTED} can be active by selection", roles.len());
    Err(Error::limit("roles", message))
}

impl Sessions<'_> {
    /// Makes one more role active in a session that selected its roles (AddActiveRole of ANSI INCITS 359). Seen by the
    /// session's next check.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live, and for a role that its user does not have now; `AlreadyExists` where
    /// the role is active already, as all are in a session that selected none; `SeparationOfDuty` where it may not be
    /// active with the others; `Denied` with [`Denial::FactorRequired`](crate::Denial::FactorRequired) where the role asks
    /// for a second factor and the login had none; `LimitExceeded` beyond 256 roles; the storage kinds.
    pub fn activate(&self, session: SessionId, role: RoleId) -> Result<()> {
        let engine = self.gate.engine();
        let done = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::Session(session), "activate a role")?;
            let old = read_live_session(engine, session)?;
            let Some(selected) = &old.record.roles else {
                return Err(Error::exists("role", format!("all roles are active in {session}")));
            };
            let held = held_now(engine, &old.record)?;
            if !held.contains(&role) {
                let message = format_args!("{role} among the roles of {}", old.record.user);
                return Err(Error::not_found("role", message));
            }
            // Those that the user has no more leave the selection, so that they can not come back beside the new one.
            let mut roles: BTreeSet<RoleId> =
                selected.iter().copied().filter(|role| held.contains(role)).collect();
            if !roles.insert(role) {
                return Err(Error::exists("role", format!("{role} is active in {session} already")));
            }
            check_number(&roles)?;
            duty::before_activation(plan, &old.record, &roles)?;
            demand::before_activation(plan, &old.record, &roles)?;
            let roles = Some(roles.into_iter().collect());
            plan.batch.replace(&old, &SessionRecord { roles, ..old.record.clone() })?;
            let entry = Entry::of(Subject::Session(session)).and(Subject::Role(role));
            plan.record(AuditKind::RoleActivated, entry)
        });
        engine.report_violation(self.gate.actor(), Subject::Session(session), done.map(drop))
    }

    /// Makes a role no longer active in a session (DropActiveRole of ANSI INCITS 359). A session that had all roles active
    /// has those left that its user has now; roles that are assigned later are not active in it.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live, and for a role that is not active in it, or only by way of a role above
    /// it; `LimitExceeded` where more than 256 would be left; the storage kinds.
    pub fn deactivate(&self, session: SessionId, role: RoleId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::Session(session), "deactivate a role")?;
            let old = read_live_session(engine, session)?;
            let mut roles = active(engine, &old.record)?;
            if !roles.remove(&role) {
                return Err(Error::not_found("role", format_args!("{role} among those active in {session}")));
            }
            check_number(&roles)?;
            let roles = Some(roles.into_iter().collect());
            plan.batch.replace(&old, &SessionRecord { roles, ..old.record.clone() })?;
            let entry = Entry::of(Subject::Session(session)).and(Subject::Role(role));
            plan.record(AuditKind::RoleDeactivated, entry)
        })?;
        Ok(())
    }

    /// The roles that are active in a session, by number, without those below them (SessionRoles of ANSI INCITS 359):
    /// what was selected and the user has now, or else all that the user was assigned.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live; the storage kinds.
    pub fn roles(&self, session: SessionId) -> Result<Vec<RoleId>> {
        let engine = self.gate.engine();
        let found = read_live_session(engine, session)?;
        Ok(active(engine, &found.record)?.into_iter().collect())
    }

    /// What can be done in a session everywhere (SessionPermissions of ANSI INCITS 359).
    ///
    /// # Errors
    /// As [`permissions_at`](Self::permissions_at).
    pub fn permissions(&self, session: SessionId) -> Result<PermissionSet> {
        self.permissions_at(session, ScopeId::ROOT)
    }

    /// What can be done in a session at a scope. Where [somebody else](crate::Session::impersonator) acts in it, that is what
    /// both may.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live and for a scope that does not exist; the storage kinds.
    pub fn permissions_at(&self, session: SessionId, scope: ScopeId) -> Result<PermissionSet> {
        let engine = self.gate.engine();
        let read = read_live_session(engine, session)?;
        scope::levels(&*engine.store, scope)?;
        let found = engine.view.permissions_of_session(session, scope, engine.seconds());
        let found = found.ok_or_else(|| Error::not_found("session", session))?;
        Ok(engine.without_what_only_one_may(&read.record, found, scope))
    }
}

/// The roles that the session's user has now, with all that they inherit from.
fn held_now(engine: &Engine, session: &SessionRecord) -> Result<BTreeSet<RoleId>> {
    let store = &*engine.store;
    user::read_user(store, session.user)?;
    role::with_juniors(store, duty::assigned(store, session.user, engine.now(), true)?)
}

fn active(engine: &Engine, session: &SessionRecord) -> Result<BTreeSet<RoleId>> {
    let held = match &session.roles {
        Some(_) => held_now(engine, session)?,
        None => {
            let assigned = duty::assigned(&*engine.store, session.user, engine.now(), true)?;
            return Ok(role::present(&*engine.store, &assigned.into_iter().collect::<Vec<_>>())?
                .into_iter()
                .collect());
        }
    };
    let selected = session.roles.iter().flatten().copied();
    Ok(selected.filter(|role| held.contains(role)).collect())
}

impl Engine {
    /// Writes down that a user was refused what would have broken a separation of duty.
    pub(super) fn report_violation<T>(
        &self,
        by: impl Into<Mandate>,
        of: Subject,
        result: Result<T>,
    ) -> Result<T> {
        let by = by.into();
        if let (Actor::User(_), Err(error)) = (by.actor, &result)
            && error.kind() == ErrorKind::SeparationOfDuty
        {
            self.write(by.for_the_log(), |plan| {
                let entry = Entry::of(of).detail(error.to_string());
                plan.record_outcome(AuditKind::SeparationViolated, Outcome::Denied, plan.actor, entry)
            })?;
        }
        result
    }
}
