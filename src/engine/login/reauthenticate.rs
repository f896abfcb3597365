//! Proving anew who one is, in a session that is there: after a while, or with one factor more.

use super::LoginStep;
use super::complete::Need;
use super::proved::Proved;
use super::refusal::Refusal;
use crate::assurance::{Assurance, Method, Methods};
use crate::audit::{Actor, AuditKind, Subject};
use crate::clock::Timestamp;
use crate::credential::CredentialRecord;
use crate::crypto::{Digest, MAX_PASSWORD_BYTES, Presented, Purpose, Source, Verdict};
use crate::engine::idle::RESUMABLE;
use crate::engine::throttle::Attempt;
use crate::engine::write::{Entry, Plan};
use crate::engine::{Engine, Portcullis, duty};
use crate::error::{Denial, Error, Result};
use crate::id::{Key, RoleId, SessionId, UserId};
use crate::role;
use crate::session::{self, Client, ParallelSessions, SESSION_BY_USER, SessionRecord};
use crate::store::{self, Record, Scan, Stored};
use crate::user::UserRecord;
use std::time::Duration;

/// Sessions that one login may end to make room; more are too many after the limit was lowered only.
const MOST_ENDED: usize = 32;

impl Portcullis {
    /// Proves anew, by the password, who holds a session, and goes on in another session that takes its place: with another
    /// token, the same label and device, and those of the selected roles that the user still has. The former one ends in
    /// the same commit (OWASP ASVS 5.0, 7.2.4).
    ///
    /// A session that has run into its idle limit can be resumed so for an hour, and no longer than to its absolute end: NIST SP
    /// 800-63B-4, section 2.2.3, asks for one factor beside the session secret. Where a second factor was proved in it that is
    /// not too long ago ([`Builder::assurance_age`](crate::Builder::assurance_age)), that goes on counting from when it was
    /// proved. A session of two factors ends when the one would have that it takes the place of; the limits of one that the
    /// password alone opens begin anew.
    ///
    /// # Errors
    /// As [`start_login`](Self::start_login). Refusals are [`LoginStep::Denied`]: with [`Denial::Session`] where the token
    /// names no session, or one that has ended otherwise than by its idle limit; with [`Denial::Credentials`] where the
    /// password is wrong; with [`Denial::Throttled`] after too many wrong ones.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, Denial, NewUser, Portcullis};
    /// use std::time::Duration;
    /// let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let client = Client::new();
    /// let old = gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
    /// let refused = gate.authenticate(old.token())?.require_recent(Duration::ZERO);
    /// assert_eq!(refused.err().and_then(|error| error.denial()), Some(Denial::Reauthentication));
    /// let new = gate.reauthenticate(old.token(), "correct horse battery staple", &client)?.done()?;
    /// gate.authenticate(new.token())?.require_recent(Duration::from_secs(300))?;
    /// assert!(gate.authenticate(old.token()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn reauthenticate(
        &self,
        token: impl AsRef<str>,
        password: &str,
        client: &Client,
    ) -> Result<LoginStep> {
        if password.len() > MAX_PASSWORD_BYTES {
            let message = format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len());
            return Err(Error::invalid("password", message));
        }
        client.check()?;
        let engine = self.engine();
        let Some(former) = engine.resumable(token.as_ref())? else {
            return Ok(LoginStep::Denied(Denial::Session));
        };
        let user = former.user;
        let admission = match engine.admit(&Attempt::inside(user, Method::Password, client))? {
            Ok(admission) => admission,
            Err(denial) => return Ok(LoginStep::Denied(denial)),
        };
        let credential = store::read::<CredentialRecord>(&*engine.store, &user)?.map(|row| row.record);
        let phc = credential.as_ref().map(|credential| credential.phc.as_str());
        let verdict = engine.hasher.judge(password, phc, Source::of(client.ip))?;
        let refusal = match (&credential, verdict) {
            (None, _) => Refusal::NoPassword,
            (_, Verdict::Wrong) => Refusal::WrongPassword,
            (_, Verdict::Unverifiable(why)) => Refusal::Unverifiable(why),
            (Some(credential), Verdict::Right) => {
                let proved = Proved {
                    user,
                    revision: Some(credential.revision),
                    methods: engine.counting(&former).with(Method::Password),
                    verified: Some((password, credential.phc.clone())),
                    roles: None,
                    replaces: Some(former.id),
                    answered: None,
                    link: None,
                    #[cfg(feature = "passkeys")]
                    assertion: None,
                    admission: Some(admission),
                };
                return engine.proceed(&proved, client, true);
            }
        };
        engine.refuse(Some(user), &refusal, Methods::NONE, client, Some(&admission))
    }

    /// Asks who holds a session for a factor more, so that the session comes to [`Assurance::Two`]: answer the challenge as in
    /// a login. The session that is opened then takes the place of this one, as for
    /// [`reauthenticate`](Self::reauthenticate), and ends when this one would have.
    ///
    /// # Errors
    /// `InvalidInput` for a client detail that breaks a rule; the storage kinds. Refusals are [`LoginStep::Denied`]: with
    /// [`Denial::Session`] as for [`reauthenticate`](Self::reauthenticate); with [`Denial::Reauthentication`] where what was
    /// proved in the session is too long ago to count, so that the password is due first; with [`Denial::FactorRequired`]
    /// where the user has no factor that would get there; with [`Denial::Credentials`] where a
    /// [context rule](crate::ContextRule) refuses.
    pub fn step_up(&self, token: impl AsRef<str>, client: &Client) -> Result<LoginStep> {
        client.check()?;
        let engine = self.engine();
        let Some(former) = engine.resumable(token.as_ref())? else {
            return Ok(LoginStep::Denied(Denial::Session));
        };
        let (user, methods) = (former.user, engine.counting(&former));
        if methods.is_empty() {
            return Ok(LoginStep::Denied(Denial::Reauthentication));
        }
        if let Some(refusal) = engine.refused_in_context(user, client)? {
            return engine.refuse(Some(user), &refusal, Methods::NONE, client, None);
        }
        let proved = Proved {
            user,
            revision: None,
            methods,
            verified: None,
            roles: None,
            replaces: Some(former.id),
            answered: None,
            link: None,
            #[cfg(feature = "passkeys")]
            assertion: None,
            admission: None,
        };
        let (step, _) = engine.write(Actor::User(user), |plan| engine.plan_step_up(plan, &proved))?;
        Ok(step)
    }
}

impl Engine {
    /// The session of a token that may be used to prove anew who holds it: one that has ended by nothing but its idle limit.
    fn resumable(&self, token: &str) -> Result<Option<SessionRecord>> {
        let Some(presented) = Presented::parse_as(Purpose::Session, token) else { return Ok(None) };
        let found = store::read::<SessionRecord>(&*self.store, &presented.id())?;
        let Some(session) = found.filter(|found| Digest(found.record.digest) == presented.digest()) else {
            return Ok(None);
        };
        // A token that is to be refreshed first is no secret of the session any more.
        if session.record.family.as_ref().is_some_and(|family| family.access_until <= self.now()) {
            return Ok(None);
        }
        // Housekeeping removes it from then on; whether it has come round decides nothing.
        let idle = u64::from(session.record.idle_secs);
        let resumable = Duration::from_secs(idle + u64::from(RESUMABLE));
        if idle > 0 && self.now() >= self.last_used(&session.record).saturating_add(resumable) {
            return Ok(None);
        }
        self.try_out(|plan| {
            let account = store::read::<UserRecord>(plan.store, &session.record.user)?;
            let Some(account) = account.filter(|account| account.record.status.is_active_at(plan.now)) else {
                return Ok(None);
            };
            Ok(Self::take_over(plan, session.record.id, &account.record)?.map(|found| found.record))
        })
    }

    /// What was proved in a session and is not too long ago to count.
    fn counting(&self, former: &SessionRecord) -> Methods {
        if self.is_fresh(former.elevated.unwrap_or(former.authenticated)) {
            former.methods
        } else {
            Methods::NONE
        }
    }

    /// Whether a proof of that time still counts.
    pub(in crate::engine) fn is_fresh(&self, proved: Timestamp) -> bool {
        self.session_policy.assurance_age.is_none_or(|age| self.now().since(proved) <= age)
    }

    /// The session that another one is to take the place of, if it has not ended otherwise than by its idle limit; from rows
    /// that the commit expects unchanged. It ends when the other one is opened.
    pub(super) fn take_over(
        plan: &mut Plan<'_>,
        id: SessionId,
        account: &UserRecord,
    ) -> Result<Option<Stored<SessionRecord>>> {
        let Some(old) = store::read::<SessionRecord>(plan.store, &id)? else { return Ok(None) };
        let session = &old.record;
        if session.user != account.id
            || session.generation < account.generation
            || session.expires <= plan.now
            || session.era != session::expect_era(plan.store, &mut plan.batch)?
            // Who acts as somebody else proves nothing of them.
            || session.impersonator.is_some()
        {
            return Ok(None);
        }
        plan.batch.expect_unchanged(&old);
        Ok(Some(old))
    }

    fn plan_step_up(&self, plan: &mut Plan<'_>, proved: &Proved<'_>) -> Result<LoginStep> {
        let gone = LoginStep::Denied(Denial::Session);
        let Some(account) = store::read::<UserRecord>(plan.store, &proved.user)? else { return Ok(gone) };
        let Some(former) = proved.replaces else { return Ok(gone) };
        if Self::take_over(plan, former, &account.record)?.is_none() {
            return Ok(gone);
        }
        plan.batch.expect_unchanged(&account);
        let steps = self.second_steps(plan, proved.user)?.methods.into_iter();
        let offered: Vec<Method> =
            steps.filter(|step| proved.methods.with(*step).assurance() >= Assurance::Two).collect();
        if offered.is_empty() {
            plan.batch = store::Batch::new();
            return Ok(LoginStep::Denied(Denial::FactorRequired));
        }
        let progress = self.progress_of(&account.record, proved.methods);
        self.plan_challenge(plan, proved, progress, Need::Factor(offered, Assurance::Two), true)
    }

    /// Sees that one more session of the user is within the limit, but for the one whose place it takes. False where it is
    /// not to be opened.
    pub(super) fn make_room(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        generation: u32,
        former: Option<SessionId>,
    ) -> Result<bool> {
        let (most, ends) = match self.session_policy.parallel {
            ParallelSessions::Unlimited => return Ok(true),
            ParallelSessions::EndOldest(most) => (usize::from(most), true),
            ParallelSessions::Refuse(most) => (usize::from(most), false),
        };
        let era = session::expect_era(plan.store, &mut plan.batch)?;
        let mut live = Vec::new();
        let (prefix, mut after) = (user.bytes(), None::<Vec<u8>>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 256, descending: false };
            let (sessions, next) = store::page_by::<SessionRecord>(plan.store, SESSION_BY_USER, &scan)?;
            live.extend(sessions.into_iter().filter(|session| {
                let record = &session.record;
                record.generation >= generation
                    && record.era == era
                    && Some(record.id) != former
                    // Whoever acts as the user takes none of the user's places.
                    && record.impersonator.is_none()
                    && !record.is_over(self.last_used(record), plan.now)
            }));
            match next {
                None => break,
                next => after = next,
            }
        }
        // INVARIANT: two logins of one user meet in the user's row, so that one of them counts the other's session.
        let account = crate::user::read_user(plan.store, user)?;
        if plan.batch.staged(UserRecord::TABLE, &user.bytes()).is_none() {
            plan.batch.replace(&account, &account.record)?;
        }
        let excess = (live.len() + 1).saturating_sub(most);
        if excess == 0 {
            return Ok(true);
        }
        if !ends {
            return Ok(false);
        }
        if excess > MOST_ENDED {
            let message = format!(
                "{user} has {} sessions and may have {most}, more than one login can end; call Sessions::revoke_all",
                live.len()
            );
            return Err(Error::limit("session", message));
        }
        live.sort_unstable_by_key(|session| (session.record.created, session.record.id));
        for session in live.iter().take(excess) {
            plan.batch.remove(session);
        }
        let detail = format!("the {excess} opened first: {most} may be open at once");
        plan.record(AuditKind::SessionsRevoked, Entry::of(Subject::User(user)).detail(detail))?;
        Ok(true)
    }

    /// When a session was last used. The view knows later uses than the row.
    fn last_used(&self, session: &SessionRecord) -> Timestamp {
        let line = self.view.session(session.id);
        line.map_or(session.seen, |line| line.seen.timestamp().max(session.seen))
    }
}

/// Those of the roles that were selected for a session which its user has now.
pub(super) fn still_selected(plan: &Plan<'_>, former: &SessionRecord) -> Result<Option<Vec<RoleId>>> {
    let Some(selected) = &former.roles else { return Ok(None) };
    let held = role::with_juniors(plan.store, duty::assigned(plan.store, former.user, plan.now, true)?)?;
    Ok(Some(selected.iter().copied().filter(|role| held.contains(role)).collect()))
}
