//! What follows once something was proved: another step, or the session.

#[cfg(feature = "passkeys")]
use super::passkey::with_passkey;
use super::proved::{Entered, Proved};
use super::refusal::{Refusal, SERVICE_ACCOUNT, status_detail};
use super::{Challenge, LoginStep};
use crate::assurance::{Assurance, Method, Methods};
use crate::audit::{Actor, AuditKind, Subject};
use crate::challenge::{self, ChallengeRecord, Step};
use crate::credential::{self, CredentialRecord, MustChange};
use crate::crypto::{OneTimeToken, Purpose, RecoveryCode, Source};
use crate::engine::bookkeeping::Leftover;
use crate::engine::events::{Event, EventKind};
#[cfg(feature = "passkeys")]
use crate::engine::passkeys::stage_assertion;
use crate::engine::passwords::{Prepared, stage_new_password};
use crate::engine::view::ViewTime;
use crate::engine::write::{Entry, Plan};
use crate::engine::{Engine, duty};
use crate::error::{Error, ErrorKind, Result};
use crate::history::LoginOutcome;
use crate::id::UserId;
use crate::role;
use crate::session::{self, Client, SessionRecord};
use crate::store::{self, Batch, Stored};
use crate::user::{self, UserRecord};
use std::time::Duration;

/// How long a login may be under way. A code that was sent lives no longer (OWASP ASVS 5.0 6.5.5).
const CHALLENGE_LIFE: Duration = Duration::from_secs(600);

/// What a step comes to while it is planned.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) methods: Methods,
    /// The generation of the user.
    pub(super) generation: u32,
    /// The revision of the password that was proved.
    revision: Option<u32>,
    /// What takes the place of a recovery code that was used.
    pub(super) successor: Option<RecoveryCode>,
    changed_password: bool,
    /// Whether a second step was made in this login.
    pub(super) stepped: bool,
    /// The session that the new one takes the place of.
    pub(super) former: Option<Stored<SessionRecord>>,
}

impl Progress {
    pub(super) fn of(methods: Methods) -> Self {
        Self { methods, ..Self::default() }
    }
}

/// What is still asked for.
pub(super) enum Need {
    Nothing,
    /// One of these, to come to that level; none where the user has to enrol one first.
    Factor(Vec<Method>, Assurance),
    NewPassword(MustChange),
}

impl Engine {
    /// Goes on with a login after something was proved.
    pub(in crate::engine) fn proceed(
        &self,
        proved: &Proved<'_>,
        client: &Client,
        goes_on: bool,
    ) -> Result<LoginStep> {
        let (id, source) = (proved.user, Source::of(client.ip));
        let barred = self.refused_in_context(id, client)?;
        let upgraded = match &proved.verified {
            Some((password, phc)) if barred.is_none() && self.is_open_to(proved)? => {
                self.hasher.upgrade(password, phc, source)?.map(|new| (phc.as_str(), new))
            }
            Some((password, phc)) => self.hasher.as_if_wrong(password, phc, source).map(|()| None)?,
            None => None,
        };
        if let Some(refusal) = barred {
            return self.refuse(Some(id), &refusal, proved.methods, client, proved.admission.as_ref());
        }
        let upgraded = upgraded.as_ref().map(|(old, new)| (*old, new.as_str()));
        let planned = self.write(Actor::User(id), |plan| {
            let step = self.plan_step(plan, proved, upgraded, client, goes_on)?;
            match step {
                // What is staged then is that a passkey may have been copied.
                #[cfg(feature = "passkeys")]
                Err(Refusal::Passkey(_)) => {}
                Err(_) => plan.batch = Batch::new(),
                Ok(_) => {}
            }
            Ok(step)
        });
        match planned {
            Ok((Ok(step), _)) => Ok(step),
            Ok((Err(refusal @ (Refusal::Answer(_) | Refusal::Stopped)), _)) => match &proved.answered {
                Some((challenge, _)) => {
                    self.refuse_answer(challenge, &refusal.detail(), client, proved.admission.as_ref())
                }
                None => self.refuse(Some(id), &refusal, proved.methods, client, proved.admission.as_ref()),
            },
            #[cfg(feature = "passkeys")]
            Ok((Err(refusal @ Refusal::Passkey(_)), _)) if proved.answered.is_some() => {
                match &proved.answered {
                    Some((challenge, _)) => self.refuse_answer(challenge, &refusal.detail(), client, None),
                    None => self.refuse(Some(id), &refusal, proved.methods, client, None),
                }
            }
            Ok((Err(refusal), _)) => {
                self.refuse(Some(id), &refusal, proved.methods, client, proved.admission.as_ref())
            }
            // What was proved was right, so that the reason can be told; the log has it, too.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::SeparationOfDuty) => {
                let outcome = (LoginOutcome::NotAllowed, proved.methods);
                self.record_refusal(Some(id), &error.to_string(), outcome, client)?;
                self.report_violation(Actor::User(id), Subject::User(id), Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the account would let the user in now, so that a second hash may be computed: one for whoever is refused
    /// would tell a right password from a wrong one. The commit decides.
    fn is_open_to(&self, proved: &Proved<'_>) -> Result<bool> {
        let (store, now) = (&*self.store, self.now());
        let account = store::read::<UserRecord>(store, &proved.user)?;
        let credential = store::read::<CredentialRecord>(store, &proved.user)?;
        let open = account.is_some_and(|account| account.record.status.is_active_at(now))
            && credential.is_some_and(|found| !credential::has_ended(&found.record, now));
        match &proved.admission {
            Some(admission) if open => Ok(!admission.is_stopped(proved.user)?),
            _ => Ok(open),
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
        let credential = store::read::<CredentialRecord>(plan.store, &proved.user)?;
        if let Some(revision) = proved.revision
            && credential.as_ref().is_none_or(|credential| credential.record.revision != revision)
        {
            return Ok(Err(Refusal::Changed));
        }
        if !account.record.status.is_active_at(plan.now) {
            return Ok(Err(Refusal::NotActive(status_detail(&account.record))));
        }
        // It has nothing to log in with; should it, that opens nothing.
        if account.record.service {
            return Ok(Err(Refusal::NotActive(SERVICE_ACCOUNT.to_owned())));
        }
        if credential.as_ref().is_some_and(|found| credential::has_ended(&found.record, plan.now)) {
            return Ok(Err(Refusal::PasswordEnded));
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
        let mut progress = Progress {
            methods: proved.methods,
            generation: account.record.generation,
            revision: proved.revision,
            ..Progress::default()
        };
        if let Some(former) = proved.replaces {
            progress.former = match Self::take_over(plan, former, &account.record)? {
                None => return Ok(Err(Refusal::Changed)),
                former => former,
            };
        }
        #[cfg(feature = "passkeys")]
        if let Some(assertion) = proved.assertion {
            match stage_assertion(plan, assertion)? {
                Ok(proof) => progress.methods = with_passkey(progress.methods, proof),
                Err(refusal) => return Ok(Err(Refusal::Passkey(refusal.detail()))),
            }
        }
        if let Some((challenge, entered)) = &proved.answered
            && let Err(refusal) = self.plan_answer(plan, challenge, *entered, &mut progress)?
        {
            return Ok(Err(refusal));
        }
        if let Some(link) = &proved.link
            && let Err(refused) = Self::stage_link(plan, link)?
        {
            return Ok(Err(Refusal::Link(refused)));
        }
        if let Some(admission) = &proved.admission
            && let Err(refusal) = admission.succeeded(plan, proved.user)?
        {
            return Ok(Err(refusal));
        }
        match self.need(plan, proved, credential.as_ref(), &progress)? {
            Need::Nothing => self.plan_session(plan, proved.user, proved.roles.as_deref(), progress, client),
            need => {
                let (outcome, methods) = (LoginOutcome::StepPassed, progress.methods);
                self.stage_attempt(plan, proved.user, outcome, methods, client)?;
                self.plan_challenge(plan, proved, progress, need, goes_on).map(Ok)
            }
        }
    }

    /// Spends the challenge with what was entered, if that is right.
    fn plan_answer(
        &self,
        plan: &mut Plan<'_>,
        challenge: &Stored<ChallengeRecord>,
        entered: Entered<'_>,
        progress: &mut Progress,
    ) -> Result<Result<(), Refusal>> {
        let user = challenge.record.user;
        // Read anew: somebody may have answered wrong meanwhile, or right.
        let Some(live) = store::read::<ChallengeRecord>(plan.store, &challenge.record.id)? else {
            return Ok(Err(Refusal::Changed));
        };
        if live.record.generation != progress.generation
            || live.record.expires <= plan.now
            || live.record.era != session::expect_era(plan.store, &mut plan.batch)?
        {
            return Ok(Err(Refusal::Changed));
        }
        let method = match entered {
            Entered::Totp(code) => {
                let right = self.stage_totp_answer(plan, &live.record, code)?;
                right.then_some(Method::Totp)
            }
            Entered::RecoveryCode(code) => {
                progress.successor = self.stage_recovery_use(plan, user, code)?;
                progress.successor.as_ref().map(|_| Method::RecoveryCode)
            }
            // The one that was sent last, and not one before it.
            Entered::SentCode(_) if live.record.code != challenge.record.code => None,
            Entered::SentCode(factor) => self.sent_code_use(plan, user, factor)?,
            // The one that was asked for last, and not one before it.
            #[cfg(feature = "passkeys")]
            Entered::Passkey(_) if live.record.assertion != challenge.record.assertion => None,
            #[cfg(feature = "passkeys")]
            Entered::Passkey(assertion) => match stage_assertion(plan, assertion)? {
                Ok(proof) => {
                    progress.methods = with_passkey(progress.methods, proof);
                    Some(Method::Passkey)
                }
                Err(refusal) => return Ok(Err(Refusal::Passkey(refusal.detail()))),
            },
            // The user may have got a factor since this login was asked for a password.
            Entered::NewPassword(_)
                if !progress.methods.has_second_step() && self.second_steps(plan, user)?.due() =>
            {
                return Ok(Err(Refusal::Changed));
            }
            Entered::NewPassword(prepared) => {
                self.plan_new_password(plan, user, prepared, progress)?;
                plan.batch.remove(&live);
                return Ok(Ok(()));
            }
        };
        let Some(method) = method else { return Ok(Err(Refusal::Answer(entered.name()))) };
        progress.methods = progress.methods.with(method);
        progress.stepped = true;
        plan.batch.remove(&live);
        Ok(Ok(()))
    }

    /// Another password: every session and every other login under way ends.
    pub(super) fn plan_new_password(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        prepared: &Prepared,
        progress: &mut Progress,
    ) -> Result<()> {
        stage_new_password(plan, &self.passwords.policy, user, prepared)?;
        progress.generation = user::stage_generation(plan.store, &mut plan.batch, user)?.generation;
        progress.changed_password = true;
        self.forget_failures(plan, user, Some(Method::Password))?;
        plan.leave(Leftover::Sessions(user))?;
        plan.notify(Event::of(user, EventKind::PasswordChanged));
        plan.record(AuditKind::PasswordChange, Entry::of(Subject::User(user)).detail("at a login"))
    }

    /// What is still asked for before there may be a session.
    fn need(
        &self,
        plan: &mut Plan<'_>,
        proved: &Proved<'_>,
        credential: Option<&Stored<CredentialRecord>>,
        progress: &Progress,
    ) -> Result<Need> {
        if progress.methods.assurance() < Assurance::Two {
            // No role comes to ask for more between this look and the commit: see `demand`.
            role::expect_hierarchy(plan.store, &mut plan.batch)?;
        }
        let mut demanded = self.demanded(plan, proved)?;
        if self.passwords.policy.needs_second_factor() {
            demanded = demanded.max(Assurance::Two);
        }
        let steps = self.second_steps(plan, proved.user)?;
        let made = progress.methods.has_second_step();
        if progress.methods.assurance() < demanded || (steps.due() && !made) {
            // What would not get there is not offered; but where nothing would, whoever has a factor uses it before
            // another one is enrolled, so that a password alone enrols none beside it.
            let gets_there = |step: &Method| progress.methods.with(*step).assurance() >= demanded;
            let mut offered: Vec<Method> = steps.methods.iter().copied().filter(gets_there).collect();
            if offered.is_empty() && !made && progress.methods.contains(Method::Password) {
                offered = steps.methods;
            }
            return Ok(Need::Factor(offered, demanded));
        }
        // Last, so that whoever knows a password only can not change it.
        let due = credential.filter(|_| !progress.changed_password).and_then(|credential| {
            credential::must_change(&credential.record, &self.passwords.policy, plan.now)
        });
        Ok(due.map_or(Need::Nothing, Need::NewPassword))
    }

    /// How sure this login must be, by the roles that would be active.
    fn demanded(&self, plan: &mut Plan<'_>, proved: &Proved<'_>) -> Result<Assurance> {
        let (store, now) = (plan.store, plan.now);
        role::demanded(store, || match &proved.roles {
            Some(roles) => Ok(roles.iter().copied().collect()),
            None => duty::assigned(store, proved.user, now, false),
        })
    }

    /// What a login has come to whose first step was made in a session that is there.
    pub(super) fn progress_of(&self, account: &UserRecord, methods: Methods) -> Progress {
        Progress { generation: account.generation, ..Progress::of(methods) }
    }

    pub(super) fn plan_challenge(
        &self,
        plan: &mut Plan<'_>,
        proved: &Proved<'_>,
        progress: Progress,
        need: Need,
        goes_on: bool,
    ) -> Result<LoginStep> {
        let (token, id, digest) = OneTimeToken::mint(&*self.entropy, Purpose::Challenge)?;
        let must_change = match &need {
            Need::NewPassword(why) => Some(*why),
            _ => None,
        };
        let (step, steps, demanded) = match need {
            Need::Factor(steps, demanded) => (Step::Factor, steps, demanded),
            _ => (Step::NewPassword, Vec::new(), Assurance::One),
        };
        // The steps of one login share its end, so that answering does not lengthen it.
        let expires = proved
            .answered
            .as_ref()
            .map_or_else(|| plan.now.saturating_add(CHALLENGE_LIFE), |(answered, _)| answered.record.expires);
        let (user, methods) = (proved.user, progress.methods);
        if goes_on {
            let record = ChallengeRecord {
                id,
                digest: digest.0,
                user,
                generation: progress.generation,
                revision: progress.revision,
                methods,
                step,
                demanded,
                roles: proved.roles.clone(),
                created: plan.now,
                expires,
                failures: proved.answered.as_ref().map_or(0, |(answered, _)| answered.record.failures),
                sent: 0,
                code: None,
                assertion: None,
                enrolling: None,
                replaces: proved.replaces,
                era: session::expect_era(plan.store, &mut plan.batch)?,
            };
            challenge::stage_challenge(plan.store, &mut plan.batch, &record)?;
        }
        let asked = match step {
            Step::Factor => "a second factor",
            Step::NewPassword => "a new password",
        };
        let detail = format!("{methods} was right; {asked} is asked for");
        plan.record(AuditKind::LoginStep, Entry::of(Subject::User(user)).detail(detail))?;
        let challenge = Challenge {
            token,
            user,
            proved: methods,
            steps,
            must_change,
            expires,
            successor: progress.successor,
        };
        Ok(match step {
            Step::Factor => LoginStep::NeedsFactor(challenge),
            Step::NewPassword => LoginStep::MustChangePassword(challenge),
        })
    }
}
