//! Refusals: one answer for everybody, and the true reason in the audit log.

use super::LoginStep;
use crate::assurance::Methods;
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::crypto::{Source, Verdict};
use crate::engine::Engine;
use crate::engine::events::{Event, EventKind};
use crate::engine::throttle::{Admission, Fault};
use crate::engine::tickets::Refused;
use crate::engine::write::{Entry, Plan};
use crate::error::{Denial, Error, Result};
use crate::history::LoginOutcome;
use crate::id::UserId;
use crate::session::Client;
use crate::user::UserRecord;

/// Why a program's account is let in nowhere but by its keys.
pub(in crate::engine) const SERVICE_ACCOUNT: &str =
    "the account is a service account, which nobody logs in as";

/// The true reason of a refusal, for the audit log only.
pub(in crate::engine) enum Refusal {
    UnknownName,
    NoPassword,
    WrongPassword,
    /// The stored hash can not be compared with anything, for this reason.
    Unverifiable(Error),
    NotActive(String),
    PasswordEnded,
    Changed,
    /// After too many failures in a row.
    Stopped,
    /// A wrong answer to a challenge, of that sort.
    Answer(&'static str),
    /// A passkey, for that reason.
    #[cfg(feature = "passkeys")]
    Passkey(&'static str),
    /// The rule of that number.
    Context(usize),
    /// The magic link.
    Link(Refused),
    /// The user has as many sessions as may be open at once.
    TooManySessions,
}

impl Refusal {
    /// What it counts as; see [`Fault`].
    fn fault(&self) -> Fault {
        match self {
            Self::WrongPassword | Self::Answer(_) | Self::Stopped => Fault::Wrong,
            _ => Fault::Barred,
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            // The name is left out: people type their password into the wrong field.
            Self::UnknownName => "unknown login name".to_owned(),
            Self::NoPassword => "the user has no password".to_owned(),
            Self::WrongPassword => "wrong password".to_owned(),
            Self::Unverifiable(_) => "the stored password hash can not be verified".to_owned(),
            Self::NotActive(status) => status.clone(),
            Self::PasswordEnded => "the password was issued for a time that is over".to_owned(),
            Self::Changed => "the account changed while it was verified".to_owned(),
            Self::Link(refused) => refused.detail().to_owned(),
            Self::Stopped => "too many failures in a row".to_owned(),
            Self::Answer(what) => format!("wrong answer: {what}"),
            #[cfg(feature = "passkeys")]
            Self::Passkey(why) => (*why).to_owned(),
            Self::Context(number) => format!("refused by context rule {number}"),
            Self::TooManySessions => "as many sessions are open as may be at once".to_owned(),
        }
    }

    /// What whoever tried is told: that the limit of sessions is reached is no secret to who has proved everything else.
    pub(super) fn denial(&self) -> Denial {
        match self {
            Self::TooManySessions => Denial::SessionLimit,
            _ => Denial::Credentials,
        }
    }

    /// What the user whose account it is may see of it.
    fn outcome(&self) -> LoginOutcome {
        match self {
            Self::UnknownName | Self::NoPassword | Self::WrongPassword | Self::Unverifiable(_) => {
                LoginOutcome::WrongPassword
            }
            Self::Answer(_) => LoginOutcome::WrongFactor,
            #[cfg(feature = "passkeys")]
            Self::Passkey(_) => LoginOutcome::WrongFactor,
            Self::NotActive(_)
            | Self::Changed
            | Self::PasswordEnded
            | Self::Stopped
            | Self::Context(_)
            | Self::Link(_)
            | Self::TooManySessions => LoginOutcome::NotAllowed,
        }
    }
}

pub(in crate::engine) fn status_detail(user: &UserRecord) -> String {
    match &user.status.reason {
        Some(reason) => format!("{:?}: {reason}", user.status.kind),
        None => format!("{:?}", user.status.kind),
    }
}

/// Tells the operator, and nobody else, of a stored hash that can not be verified: it looks like a wrong password to
/// whoever has the right one, so that it must not be silent.
pub(in crate::engine) fn tell_unverifiable(
    plan: &mut Plan<'_>,
    user: UserId,
    why: &Error,
    client: &Client,
) -> Result<()> {
    plan.notify(Event::of(user, EventKind::UnverifiableHash).from(client));
    let entry = Entry::of(Subject::User(user)).detail(why.to_string());
    plan.record_outcome(AuditKind::UnverifiableHash, Outcome::Denied, Actor::Anonymous, entry)
}

impl Engine {
    /// Whether a code that was sent is the one with this hash, for which the caller refuses it like any wrong one.
    pub(in crate::engine) fn is_sent_code(
        &self,
        user: UserId,
        code: &str,
        phc: &str,
        client: &Client,
    ) -> Result<bool> {
        match self.hasher.judge(code, Some(phc), Source::of(client.ip))? {
            Verdict::Right => Ok(true),
            Verdict::Wrong => Ok(false),
            Verdict::Unverifiable(why) => {
                self.write(Actor::Anonymous, |plan| tell_unverifiable(plan, user, &why, client))?;
                Ok(false)
            }
        }
    }

    /// Writes down the true reason, and what was proved by then, and answers what everybody gets.
    pub(super) fn refuse(
        &self,
        user: Option<UserId>,
        refusal: &Refusal,
        proved: Methods,
        client: &Client,
        admission: Option<&Admission<'_>>,
    ) -> Result<LoginStep> {
        if let (Refusal::Link(refused), Some(admission)) = (refusal, admission) {
            return self.deny_link(refused, admission);
        }
        let mut detail = refusal.detail();
        if let Some(admission) = admission {
            detail.push_str(&admission.refused_before());
        }
        self.write(Actor::Anonymous, |plan| {
            self.stage_refusal(plan, user, &detail, (refusal.outcome(), proved), client)?;
            if let (Refusal::Unverifiable(why), Some(user)) = (refusal, user) {
                tell_unverifiable(plan, user, why, client)?;
            }
            admission.map_or(Ok(()), |admission| admission.failed(plan, user, refusal.fault()))
        })?;
        Ok(LoginStep::Denied(refusal.denial()))
    }

    pub(super) fn record_refusal(
        &self,
        user: Option<UserId>,
        detail: &str,
        outcome: (LoginOutcome, Methods),
        client: &Client,
    ) -> Result<()> {
        self.write(Actor::Anonymous, |plan| self.stage_refusal(plan, user, detail, outcome, client))?;
        Ok(())
    }

    /// Stages a refusal into the audit log, and for a known user what came of what into the history.
    pub(super) fn stage_refusal(
        &self,
        plan: &mut Plan<'_>,
        user: Option<UserId>,
        detail: &str,
        (outcome, methods): (LoginOutcome, Methods),
        client: &Client,
    ) -> Result<()> {
        if let Some(user) = user {
            self.stage_attempt(plan, user, outcome, methods, client)?;
        }
        let entry = Entry { subject: user.map(Subject::User), object: None, detail: detail.to_owned() };
        plan.record_outcome(AuditKind::LoginFailure, Outcome::Denied, Actor::Anonymous, entry)
    }
}
