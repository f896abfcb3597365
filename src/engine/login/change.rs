//! A user's own change of password.

use super::complete::Progress;
use super::refusal::Refusal;
use super::{Login, LoginStep};
use crate::assurance::Method;
use crate::audit::Actor;
use crate::credential::CredentialRecord;
use crate::crypto::MAX_PASSWORD_BYTES;
use crate::engine::write::Plan;
use crate::engine::{Engine, Portcullis, duty};
use crate::error::{Denial, Error, Result};
use crate::id::{RoleId, SessionId};
use crate::role;
use crate::session::{Client, SessionRecord};
use crate::store;
use crate::user::UserRecord;

impl Portcullis {
    /// Changes the password of whoever holds this session, who must know the present one (OWASP ASVS 5.0 6.2.3).
    ///
    /// Every session of the user ends, this one too; the login that is returned is a new session with what was proved in
    /// the old one, so that whoever was in beside the user is out.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the token opens no session, and with [`Denial::Credentials`] where the
    /// present password is wrong; `InvalidInput` for a password above 1,024 bytes, a new one that breaks a rule, or a
    /// client detail that does; `Busy`; the storage kinds. Nothing is changed then.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis};
    /// let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let client = Client::new();
    /// let old = gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
    /// let new = gate.change_password(
    ///     old.token(),
    ///     "correct horse battery staple",
    ///     "a better horse, another battery",
    ///     &client,
    /// )?;
    /// assert!(gate.authenticate(old.token()).is_err() && gate.authenticate(new.token()).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn change_password(
        &self,
        token: impl AsRef<str>,
        present: &str,
        new: &str,
        client: &Client,
    ) -> Result<Login> {
        client.check()?;
        if present.len() > MAX_PASSWORD_BYTES {
            let message = format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", present.len());
            return Err(Error::invalid("password", message));
        }
        let engine = self.engine();
        let principal = self.authenticate(token.as_ref())?;
        let (user, session) = (principal.user(), principal.session());
        let credential = store::read::<CredentialRecord>(&*engine.store, &user)?;
        let phc = credential.as_ref().map(|credential| credential.record.phc.as_str());
        if !engine.hasher.verify(present, phc)? {
            return engine.refuse(Some(user), &Refusal::WrongPassword)?.done();
        }
        let Some(credential) = credential else { return Err(Error::denied(Denial::Credentials)) };
        let new = engine.new_password_hash(user, new)?;
        let (changed, _) = engine.write(Actor::User(user), |plan| {
            engine.plan_change(plan, session, credential.record.revision, &new, client)
        })?;
        match changed {
            Ok(step) => step.done(),
            Err(refusal) => engine.refuse(Some(user), &refusal)?.done(),
        }
    }
}

impl Engine {
    fn plan_change(
        &self,
        plan: &mut Plan<'_>,
        session: SessionId,
        revision: u32,
        phc: &str,
        client: &Client,
    ) -> Result<Result<LoginStep, Refusal>> {
        // The session may have ended while the hashes were computed: that it has not is decided from rows.
        let ended = || Error::denied(Denial::Session);
        let old = store::read::<SessionRecord>(plan.store, &session)?.ok_or_else(ended)?;
        let user = old.record.user;
        let account = store::read::<UserRecord>(plan.store, &user)?.ok_or_else(ended)?;
        let status = &account.record.status;
        if old.record.generation < account.record.generation
            || old.record.expires <= plan.now
            || !status.is_active_at(plan.now)
        {
            return Err(ended());
        }
        match store::read::<CredentialRecord>(plan.store, &user)? {
            Some(credential) if credential.record.revision == revision => {}
            _ => return Ok(Err(Refusal::Changed)),
        }
        plan.batch.expect_unchanged(&old);
        let roles: Option<Vec<RoleId>> = match &old.record.roles {
            Some(selected) => {
                let held = role::with_juniors(plan.store, duty::assigned(plan.store, user, plan.now, true)?)?;
                Some(selected.iter().copied().filter(|role| held.contains(role)).collect())
            }
            None => None,
        };
        let mut progress = Progress::of(old.record.methods.with(Method::Password));
        self.plan_new_password(plan, user, phc, &mut progress)?;
        self.plan_session(plan, user, roles.as_deref(), progress, client).map(Ok)
    }
}
