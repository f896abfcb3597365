//! A user's own change of password.

use super::complete::Progress;
use super::{Login, LoginStep};
use crate::assurance::Method;
use crate::audit::{Actor, AuditKind};
use crate::crypto::Normal;
use crate::engine::passwords::Prepared;
use crate::engine::write::Plan;
use crate::engine::{Engine, Portcullis};
use crate::error::{Denial, Error, Result};
use crate::id::SessionId;
use crate::session::{Client, SessionRecord};
use crate::store;
use crate::user::UserRecord;

impl Portcullis {
    /// Changes the password of whoever holds this session, who must know the present one (OWASP ASVS 5.0 6.2.3).
    ///
    /// [`Users::change_password`](crate::Users::change_password) is for applications without sessions of portcullis's.
    /// Here every session of the user ends, this one too; the login that is returned is a new session with what was proved in
    /// the old one, so that whoever was in beside the user is out. Where that was more than a password, it ends when the old
    /// one would have: a password alone renews no session of two factors (NIST SP 800-63B-4, section 2.2.3).
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the token opens no session, with [`Denial::Impersonated`] where somebody else
    /// acts in it, and with [`Denial::Credentials`] where the
    /// present password is wrong; `InvalidInput` for a password above 1,024 bytes, a new one that the
    /// [policy](crate::PasswordPolicy) does not take, or a client detail that breaks a rule; `Conflict` where the password
    /// was changed by somebody else meanwhile; `Busy`; the storage kinds. Nothing is changed then.
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
        let engine = self.engine();
        Normal::of(present)?;
        let principal = self.authenticate(token.as_ref())?;
        engine.require_self(&principal, AuditKind::PasswordChange)?;
        let (user, session) = (principal.user(), principal.session());
        let Some(account) = store::read::<UserRecord>(&*engine.store, &user)? else {
            return Err(Error::denied(Denial::Session));
        };
        let prepared = engine.prepare_own(&account.record, present, new, client)?;
        let (changed, _) =
            engine.write(Actor::User(user), |plan| engine.plan_change(plan, session, &prepared, client))?;
        changed.done()
    }
}

impl Engine {
    fn plan_change(
        &self,
        plan: &mut Plan<'_>,
        session: SessionId,
        prepared: &Prepared,
        client: &Client,
    ) -> Result<LoginStep> {
        // The session may have ended while the hashes were computed: that it has not is decided from rows.
        let ended = || Error::denied(Denial::Session);
        let user = store::read::<SessionRecord>(plan.store, &session)?.ok_or_else(ended)?.record.user;
        let account = store::read::<UserRecord>(plan.store, &user)?.ok_or_else(ended)?;
        if !account.record.status.is_active_at(plan.now) {
            return Err(ended());
        }
        let former = Self::take_over(plan, session, &account.record)?.ok_or_else(ended)?;
        let mut progress = Progress::of(former.record.methods.with(Method::Password));
        progress.former = Some(former);
        self.plan_new_password(plan, user, prepared, &mut progress)?;
        match self.plan_session(plan, user, None, progress, client)? {
            Ok(step) => Ok(step),
            Err(refusal) => Err(Error::denied(refusal.denial())),
        }
    }
}
