//! What follows once something was proved: another step, or the session.

use super::refusal::{Refusal, status_detail};
use super::{Challenge, Login, LoginStep};
use crate::assurance::{Assurance, Method, Methods};
use crate::audit::{Actor, AuditKind, Subject};
use crate::challenge::{self, ChallengeRecord, Step};
use crate::credential::CredentialRecord;
use crate::crypto::{OneTimeToken, Purpose, Token};
use crate::engine::view::ViewTime;
use crate::engine::write::{Entry, Plan};
use crate::engine::{Engine, duty};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RoleId, UserId};
use crate::role;
use crate::session::{Client, SessionRecord};
use crate::store::{self, Stored};
use crate::user::UserRecord;
use std::time::Duration;

/// How long a login may be under way. A code that was sent lives no longer (OWASP ASVS 5.0 6.5.5).
const CHALLENGE_LIFE: Duration = Duration::from_secs(600);

/// What somebody has proved in one login, and from which state of the account.
pub(in crate::engine) struct Proved<'p> {
    pub(in crate::engine) user: UserId,
    /// The generation of the account when the login began, where that was a step before.
    pub(in crate::engine) generation: Option<u32>,
    /// The revision of the password that was verified, where one was.
    pub(in crate::engine) revision: Option<u32>,
    pub(in crate::engine) methods: Methods,
    /// The password that was verified in this step, and its hash.
    pub(in crate::engine) verified: Option<(&'p str, String)>,
    pub(in crate::engine) roles: Option<Vec<RoleId>>,
    /// The challenge that was answered, which is spent by the next step.
    pub(in crate::engine) answered: Option<Stored<ChallengeRecord>>,
}

/// What is still asked for.
enum Need {
    Nothing,
    /// One of these; none where the user has to enrol one first.
    Factor(Vec<Method>),
    NewPassword,
}

impl Engine {
    /// Goes on with a login after something was proved.
    pub(in crate::engine) fn proceed(
        &self,
        proved: &Proved<'_>,
        client: &Client,
        goes_on: bool,
    ) -> Result<LoginStep> {
        let id = proved.user;
        if let Some(refusal) = self.refused_in_context(id, client)? {
            return self.refuse(Some(id), &refusal);
        }
        let upgraded = match &proved.verified {
            Some((password, phc)) => self.hasher.upgrade(password, phc)?.map(|new| (phc.as_str(), new)),
            None => None,
        };
        let upgraded = upgraded.as_ref().map(|(old, new)| (*old, new.as_str()));
        match self.write(Actor::User(id), |plan| self.plan_step(plan, proved, upgraded, client, goes_on)) {
            Ok((Ok(step), _)) => Ok(step),
            Ok((Err(refusal), _)) => self.refuse(Some(id), &refusal),
            // What was proved was right, so that the reason can be told; the log has it, too.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::SeparationOfDuty) => {
                self.record_refusal(Some(id), &error.to_string())?;
                self.report_violation(Actor::User(id), Subject::User(id), Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The account is read again, after a hash that took milliseconds or the minutes between two steps, and its row and
    /// the credential's are expected unchanged by the commit: who was disabled meanwhile gets no session.
    fn plan_step(
        &self,
        plan: &mut Plan<'_>,
        proved: &Proved<'_>,
        upgraded: Option<(&str, &str)>,
        client: &Client,
        goes_on: bool,
    ) -> Result<Result<LoginStep, Refusal>> {
        let Some(account) = store::read::<UserRecord>(plan.store, &proved.user)? else {
            return Ok(Err(Refusal::UnknownName));
        };
        if proved.generation.is_some_and(|generation| generation != account.record.generation) {
            return Ok(Err(Refusal::Changed));
        }
        let credential = store::read::<CredentialRecord>(plan.store, &proved.user)?;
        if let Some(revision) = proved.revision
            && credential.as_ref().is_none_or(|credential| credential.record.revision != revision)
        {
            return Ok(Err(Refusal::Changed));
        }
        if !account.record.status.is_active_at(plan.now) {
            return Ok(Err(Refusal::NotActive(status_detail(&account.record))));
        }
        if !ViewTime::can_tell(plan.now) {
            let message =
                format!("says {}; sessions can be opened from 2024 to 2091, so set it right", plan.now);
            return Err(Error::new(ErrorKind::Storage, message).with_field("clock"));
        }
        plan.batch.expect_unchanged(&account);
        if let Some(credential) = &credential {
            match upgraded {
                // The password is the one that was verified, so its hash may be made anew at the present cost.
                Some((old, new)) if credential.record.phc == old => {
                    let new = CredentialRecord { phc: new.to_owned(), ..credential.record.clone() };
                    plan.batch.replace(credential, &new)?;
                }
                _ => plan.batch.expect_unchanged(credential),
            }
        }
        if let Some(answered) = &proved.answered {
            plan.batch.remove(answered);
        }
        match self.need(plan, proved, credential.as_ref())? {
            Need::Nothing => self.plan_session(plan, &account.record, proved, client).map(Ok),
            need => self.plan_challenge(plan, &account.record, proved, need, goes_on).map(Ok),
        }
    }

    /// What is still asked for before there may be a session.
    fn need(
        &self,
        plan: &mut Plan<'_>,
        proved: &Proved<'_>,
        _credential: Option<&Stored<CredentialRecord>>,
    ) -> Result<Need> {
        let demanded = self.demanded(plan, proved)?;
        if proved.methods.assurance() < demanded {
            return Ok(Need::Factor(Vec::new()));
        }
        Ok(Need::Nothing)
    }

    /// How sure this login must be, by the roles that would be active.
    fn demanded(&self, plan: &mut Plan<'_>, proved: &Proved<'_>) -> Result<Assurance> {
        let (store, now) = (plan.store, plan.now);
        role::demanded(store, || match &proved.roles {
            Some(roles) => Ok(roles.iter().copied().collect()),
            None => duty::assigned(store, proved.user, now, false),
        })
    }

    fn plan_challenge(
        &self,
        plan: &mut Plan<'_>,
        account: &UserRecord,
        proved: &Proved<'_>,
        need: Need,
        goes_on: bool,
    ) -> Result<LoginStep> {
        let (token, id, digest) = OneTimeToken::mint(&*self.entropy, Purpose::Challenge)?;
        let (step, methods) = match need {
            Need::NewPassword => (Step::NewPassword, Vec::new()),
            Need::Factor(methods) => (Step::Factor, methods),
            Need::Nothing => (Step::Factor, Vec::new()),
        };
        // The steps of one login share its end, so that answering does not lengthen it.
        let expires = proved
            .answered
            .as_ref()
            .map_or_else(|| plan.now.saturating_add(CHALLENGE_LIFE), |answered| answered.record.expires);
        let challenge = Challenge { token, user: account.id, proved: proved.methods, methods, expires };
        if goes_on {
            let record = ChallengeRecord {
                id,
                digest: digest.0,
                user: account.id,
                generation: account.generation,
                revision: proved.revision,
                methods: proved.methods,
                step,
                roles: proved.roles.clone(),
                created: plan.now,
                expires,
            };
            challenge::stage_challenge(plan.store, &mut plan.batch, &record)?;
        }
        let asked = match step {
            Step::Factor => "a second factor",
            Step::NewPassword => "a new password",
        };
        let detail = format!("{} was right; {asked} is asked for", proved.methods);
        plan.record(AuditKind::LoginStep, Entry::of(Subject::User(account.id)).detail(detail))?;
        Ok(match step {
            Step::Factor => LoginStep::NeedsFactor(challenge),
            Step::NewPassword => LoginStep::MustChangePassword(challenge),
        })
    }

    fn plan_session(
        &self,
        plan: &mut Plan<'_>,
        account: &UserRecord,
        proved: &Proved<'_>,
        client: &Client,
    ) -> Result<LoginStep> {
        let user = account.id;
        let roles = duty::for_new_session(plan, user, proved.roles.as_deref())?;
        let device = self.stage_device(plan, user, client)?;
        let (token, id, digest) = Token::mint(&*self.entropy)?;
        let record = SessionRecord {
            id,
            user,
            digest: digest.0,
            generation: account.generation,
            created: plan.now,
            seen: plan.now,
            idle_secs: self.limits.idle_secs,
            expires: plan.now.saturating_add(self.limits.absolute),
            device: client.device.clone(),
            ip: client.ip,
            user_agent: client.user_agent.clone(),
            roles,
            methods: proved.methods,
            authenticated: plan.now,
            device_id: device.id,
        };
        plan.batch.insert(&record)?;
        let entry = Entry::of(Subject::User(user)).and(Subject::Session(id)).detail(detail_of(&record));
        plan.record(AuditKind::LoginSuccess, entry)?;
        Ok(LoginStep::Done(Login { token, device_token: device.token, session: record.into() }))
    }
}

/// What the audit log is to say of a new session: from where, how it was proved where that was more than a password, and
/// with which roles where some were selected.
fn detail_of(session: &SessionRecord) -> String {
    let mut parts = Vec::new();
    if let Some(ip) = session.ip {
        parts.push(format!("from {ip}"));
    }
    if session.methods != Methods::of(Method::Password) {
        parts.push(format!("by {}", session.methods));
    }
    if let Some(roles) = &session.roles {
        let named: Vec<String> = roles.iter().map(RoleId::to_string).collect();
        let named = if named.is_empty() { "no role".to_owned() } else { named.join(", ") };
        parts.push(format!("with {named} active"));
    }
    parts.join(" ")
}
