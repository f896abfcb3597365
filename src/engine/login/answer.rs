//! The steps of a login after the first.

use super::proved::{Entered, Proved};
use super::{Challenge, LoginStep};
use crate::assurance::Method;
use crate::audit::{Actor, AuditKind, Subject};
use crate::challenge::{ChallengeRecord, MAX_FAILURES, MAX_SENT, SentCode, Step};
use crate::clock::Timestamp;
use crate::crypto::{Digest, MAX_PASSWORD_BYTES, Presented, Purpose, Source, sent_code};
use crate::engine::events::{Event, EventKind};
use crate::engine::factors::TotpEnrolment;
use crate::engine::throttle::{Admission, Attempt, Fault};
use crate::engine::write::{Entry, Plan};
use crate::engine::{Engine, Portcullis};
use crate::error::{Denial, Error, Result};
use crate::factor::{self, FactorRecord, Secret};
use crate::history::LoginOutcome;
use crate::id::FactorId;
use crate::secret::SecretText;
use crate::session::{self, Client};
use crate::store::{self, Stored};
use crate::user::{Contact, ContactRecord, UserRecord};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a code that was sent is good: at most ten minutes (OWASP ASVS 5.0 6.5.5).
pub(in crate::engine) const CODE_LIFE: Duration = Duration::from_secs(600);
/// No code or password is longer.
pub(in crate::engine) const LONGEST: usize = MAX_PASSWORD_BYTES;

/// What somebody answers to a [`Challenge`] with. `Debug` shows none of it.
#[derive(Clone)]
#[must_use]
pub struct Answer(Kind);

#[derive(Clone)]
pub(in crate::engine) enum Kind {
    Totp(SecretText),
    RecoveryCode(SecretText),
    SentCode(SecretText),
    NewPassword(SecretText),
    #[cfg(feature = "passkeys")]
    Passkey(SecretText),
}

impl Answer {
    /// The present code of an authenticator app: six digits.
    pub fn totp(code: impl Into<String>) -> Self {
        Self(Kind::Totp(SecretText::new(code)))
    }

    /// One of the recovery codes; case, spaces and hyphens do not count.
    pub fn recovery_code(code: impl Into<String>) -> Self {
        Self(Kind::RecoveryCode(SecretText::new(code)))
    }

    /// The code that [`Portcullis::send_code`] made for this login: eight digits.
    pub fn sent_code(code: impl Into<String>) -> Self {
        Self(Kind::SentCode(SecretText::new(code)))
    }

    /// Another password, where the present one must be changed.
    pub fn new_password(password: impl Into<String>) -> Self {
        Self(Kind::NewPassword(SecretText::new(password)))
    }

    /// What it is, for whoever asks for a factor outside of a login.
    pub(in crate::engine) fn kind(&self) -> &Kind {
        &self.0
    }

    #[cfg(feature = "passkeys")]
    pub(super) fn of_passkey(response: String) -> Self {
        Self(Kind::Passkey(SecretText::new(response)))
    }

    fn step(&self) -> Step {
        match self.0 {
            Kind::NewPassword(_) => Step::NewPassword,
            _ => Step::Factor,
        }
    }

    pub(in crate::engine) fn secret(&self) -> &SecretText {
        match &self.0 {
            Kind::Totp(secret)
            | Kind::RecoveryCode(secret)
            | Kind::SentCode(secret)
            | Kind::NewPassword(secret) => secret,
            #[cfg(feature = "passkeys")]
            Kind::Passkey(secret) => secret,
        }
    }

    /// The most bytes that are looked at; what a browser answers is measured where it is read.
    pub(in crate::engine) fn longest(&self) -> usize {
        match self.0 {
            #[cfg(feature = "passkeys")]
            Kind::Passkey(_) => usize::MAX,
            _ => LONGEST,
        }
    }

    fn what(&self) -> String {
        format!("wrong answer: {}", self.name())
    }

    fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Totp(_) => Method::Totp.name(),
            Kind::RecoveryCode(_) => Method::RecoveryCode.name(),
            Kind::SentCode(_) => "sent code",
            Kind::NewPassword(_) => "new password",
            #[cfg(feature = "passkeys")]
            Kind::Passkey(_) => Method::Passkey.name(),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.name())
    }
}

/// A code for the application to deliver.
pub struct CodeToSend {
    contact: Contact,
    code: Zeroizing<String>,
    expires: Timestamp,
}

impl CodeToSend {
    /// Where it is to be sent to.
    #[must_use]
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The code: eight digits.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// When it is too late to answer with it.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl CodeToSend {
    pub(in crate::engine) fn new(contact: Contact, code: Zeroizing<String>, expires: Timestamp) -> Self {
        Self { contact, code, expires }
    }
}

/// Without the code.
impl fmt::Debug for CodeToSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeToSend")
            .field("contact", &self.contact.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Portcullis {
    /// A step of a login after the first: answers a challenge.
    ///
    /// The right answer spends the challenge; another step has another one. A wrong answer is
    /// [`Denial::Credentials`] and leaves the challenge as it is, up to the fifth, which ends the login.
    ///
    /// # Errors
    /// `InvalidInput` for an answer above 1,024 bytes, a client detail that breaks a rule, or a new password that does;
    /// `Busy` where a hash is to be computed and the admission gate is full; the storage kinds. Refusals are
    /// [`LoginStep::Denied`]: with [`Denial::Challenge`] where the token names no login under way, and with
    /// [`Denial::Throttled`] where too many answers were wrong, in this login or others of the user.
    pub fn answer(&self, challenge: impl AsRef<str>, answer: &Answer, client: &Client) -> Result<LoginStep> {
        client.check()?;
        let text = answer.secret().expose();
        if text.len() > answer.longest() {
            let message = format!("has {} bytes; at most {LONGEST} are taken", text.len());
            return Err(Error::invalid("answer", message));
        }
        let engine = self.engine();
        let Some(challenge) = engine.challenge(challenge.as_ref())? else {
            return Ok(LoginStep::Denied(Denial::Challenge));
        };
        if challenge.record.step != answer.step() {
            return engine.refuse_answer(&challenge, &answer.what(), client, None);
        }
        let guessed = engine.guessed(answer, &challenge.record)?;
        let attempt = guessed.map(|method| Attempt::step(challenge.record.user, method, client));
        let admission = match attempt.map(|attempt| engine.admit(&attempt)).transpose()? {
            Some(Err(denial)) => return Ok(LoginStep::Denied(denial)),
            Some(Ok(admission)) => Some(admission),
            None => None,
        };
        let source = Source::of(client.ip);
        let new;
        #[cfg(feature = "passkeys")]
        let assertion;
        let entered = match &answer.0 {
            Kind::Totp(_) => Entered::Totp(text),
            Kind::RecoveryCode(_) => Entered::RecoveryCode(text),
            Kind::SentCode(_) => match engine.sent_code_is(&challenge.record, text, client)? {
                Some(factor) => Entered::SentCode(factor),
                None => return engine.refuse_answer(&challenge, &answer.what(), client, admission.as_ref()),
            },
            #[cfg(feature = "passkeys")]
            Kind::Passkey(_) => match engine.passkey_is(&challenge.record, text)? {
                Ok(right) => {
                    assertion = right;
                    Entered::Passkey(&assertion)
                }
                Err(refusal) => return engine.refuse_answer(&challenge, refusal.detail(), client, None),
            },
            Kind::NewPassword(_) => {
                let user = challenge.record.user;
                let Some(account) = store::read::<UserRecord>(&*engine.store, &user)? else {
                    return engine.refuse_answer(&challenge, &answer.what(), client, None);
                };
                engine.check_new_password(&account.record, text)?;
                new = engine.prepare_for(Actor::User(user), user, text, source)?;
                Entered::NewPassword(&new)
            }
        };
        let proved = Proved {
            user: challenge.record.user,
            revision: challenge.record.revision,
            methods: challenge.record.methods,
            verified: None,
            roles: challenge.record.roles.clone(),
            replaces: challenge.record.replaces,
            answered: Some((challenge, entered)),
            link: None,
            #[cfg(feature = "passkeys")]
            assertion: None,
            admission,
        };
        engine.proceed(&proved, client, true)
    }

    /// Makes a code for a factor of the user whose login is under way, for the application to deliver: an e-mail address
    /// or a telephone number that was [enrolled](crate::Factors::enrol_contact). It is good for this login only, for ten
    /// minutes at most, and takes the place of one that was sent before; at most five are sent in one login.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Challenge`] where the token names no login under way that asks for a factor; `NotFound`
    /// where the factor is none to send codes to, or its contact is gone; `LimitExceeded` for the sixth, and for the
    /// eleventh to one contact within an hour, in whichever logins; `Busy`; the storage kinds.
    pub fn send_code(&self, challenge: impl AsRef<str>, factor: FactorId) -> Result<CodeToSend> {
        let engine = self.engine();
        let found = engine.challenge(challenge.as_ref())?;
        let Some(found) = found.filter(|found| found.record.step == Step::Factor) else {
            return Err(Error::denied(Denial::Challenge));
        };
        let user = found.record.user;
        check_sent(&found.record)?;
        let code = sent_code(&*engine.entropy)?;
        let phc = engine.hasher.hash(&code, Source::Unknown)?;
        let ((contact, expires), _) = engine.write(Actor::User(user), |plan| {
            let live = under_way(plan, &found)?;
            check_sent(&live.record)?;
            let sent_to = factor::read_factor(plan.store, user, factor)?;
            let contact = reachable(plan.store, &sent_to.record)?.ok_or_else(|| {
                Error::not_found("factor", format_args!("a way to send a code to {factor}"))
            })?;
            let counted = factor::with_code_sent(&sent_to.record, plan.now)?;
            plan.batch.replace(&sent_to, &counted)?;
            plan.batch.expect_unchanged(&contact);
            let expires = live.record.expires.min(plan.now.saturating_add(CODE_LIFE));
            let code = Some(SentCode { factor, phc: phc.clone(), expires });
            let sent = live.record.sent + 1;
            plan.batch.replace(&live, &ChallengeRecord { code, sent, ..live.record.clone() })?;
            let detail = format!("for {factor}: {}", sent_to.record.method());
            plan.record(AuditKind::CodeSent, Entry::of(Subject::User(user)).detail(detail))?;
            Ok((contact.record, expires))
        })?;
        Ok(CodeToSend { contact: contact.into(), code, expires })
    }

    /// Enrols an authenticator app in a login that asks for a factor of a user who has none that would do; its first code
    /// is then the answer. One who has a factor that would not do alone, such as a mailbox, uses that first. Whoever knows the password can do this, so give users a factor before a role that asks for
    /// one, where that matters.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Challenge`] where the token names no such login, the user has a factor by now, or the login
    /// began with a magic link, which no code makes two factors of; else as [`Factors::enrol_totp`](crate::Factors::enrol_totp).
    pub fn enrol_at_login(&self, challenge: impl AsRef<str>, label: &str) -> Result<TotpEnrolment> {
        let engine = self.engine();
        let found = engine.challenge(challenge.as_ref())?;
        let Some(found) = found.filter(|found| found.record.step == Step::Factor) else {
            return Err(Error::denied(Denial::Challenge));
        };
        let user = found.record.user;
        let (enrolment, _) = engine.write(Actor::User(user), |plan| {
            let live = under_way(plan, &found)?;
            // Where the code of an app would not get there, none is enrolled: a mailbox must not give itself a factor.
            if !live.record.wants(Method::Totp) || !engine.may_enrol(plan, &live.record)? {
                return Err(Error::denied(Denial::Challenge));
            }
            // One try makes way for the next, so that a login can not fill up what a user may have.
            if let Some(former) = live.record.enrolling
                && let Some(former) = store::read::<FactorRecord>(plan.store, &(user, former))?
                && former.record.confirmed.is_none()
            {
                plan.batch.remove(&former);
            }
            let enrolment = engine.stage_totp(plan, user, label)?;
            let enrolling = Some(enrolment.factor());
            plan.batch.replace(&live, &ChallengeRecord { enrolling, ..live.record.clone() })?;
            Ok(enrolment)
        })?;
        Ok(enrolment)
    }
}

/// The challenge as it is now, of a login that can still be gone on with.
pub(super) fn under_way(
    plan: &mut Plan<'_>,
    found: &Stored<ChallengeRecord>,
) -> Result<Stored<ChallengeRecord>> {
    let ended = || Error::denied(Denial::Challenge);
    let live = store::read::<ChallengeRecord>(plan.store, &found.record.id)?;
    let live = live.filter(|live| live.record.expires > plan.now).ok_or_else(ended)?;
    let account = store::read::<UserRecord>(plan.store, &live.record.user)?.ok_or_else(ended)?;
    if account.record.generation != live.record.generation
        || !account.record.status.is_active_at(plan.now)
        || live.record.era != session::expect_era(plan.store, &mut plan.batch)?
    {
        return Err(ended());
    }
    Ok(live)
}

/// Whether one more code may be sent: asked before its hash is computed, and again in the commit.
fn check_sent(login: &ChallengeRecord) -> Result<()> {
    if login.sent < MAX_SENT {
        return Ok(());
    }
    Err(Error::limit("challenge", format!("{MAX_SENT} codes were sent; start the login again")))
}

/// The contact of a factor, if it is one to send codes to and is still verified.
pub(in crate::engine) fn reachable(
    store: &dyn store::Store,
    factor: &FactorRecord,
) -> Result<Option<Stored<ContactRecord>>> {
    let Secret::Contact { contact, .. } = factor.secret else { return Ok(None) };
    let found = store::read::<ContactRecord>(store, &(factor.user, contact))?;
    Ok(found.filter(|found| factor.confirmed.is_some() && found.record.verified.is_some()))
}

impl Engine {
    /// The login under way that a token names, if there is one.
    pub(super) fn challenge(&self, token: &str) -> Result<Option<Stored<ChallengeRecord>>> {
        let Some(presented) = Presented::parse_as(Purpose::Challenge, token) else { return Ok(None) };
        let found = store::read::<ChallengeRecord>(&*self.store, &presented.number())?;
        Ok(found.filter(|found| {
            Digest(found.record.digest) == presented.digest() && found.record.expires > self.now()
        }))
    }

    /// What an answer could be a guess at.
    fn guessed(&self, answer: &Answer, challenge: &ChallengeRecord) -> Result<Option<Method>> {
        Ok(match &answer.0 {
            Kind::Totp(_) => Some(Method::Totp),
            Kind::RecoveryCode(_) => Some(Method::RecoveryCode),
            Kind::NewPassword(_) => None,
            // Nobody guesses a signature.
            #[cfg(feature = "passkeys")]
            Kind::Passkey(_) => None,
            Kind::SentCode(_) => {
                let factor = challenge.code.as_ref().map(|sent| (challenge.user, sent.factor));
                let found = match factor {
                    Some(key) => store::read::<FactorRecord>(&*self.store, &key)?,
                    None => None,
                };
                // Where none was sent, there is nothing to guess.
                found.map(|found| found.record.method())
            }
        })
    }

    /// The factor to which this code was sent in this login.
    fn sent_code_is(
        &self,
        challenge: &ChallengeRecord,
        code: &str,
        client: &Client,
    ) -> Result<Option<FactorId>> {
        let Some(sent) = challenge.code.as_ref().filter(|sent| sent.expires > self.now()) else {
            return Ok(None);
        };
        Ok(self.is_sent_code(challenge.user, code, &sent.phc, client)?.then_some(sent.factor))
    }

    /// Whether the factor to which a code was sent is still one of the user's.
    pub(in crate::engine) fn sent_code_use(
        &self,
        plan: &mut Plan<'_>,
        user: crate::id::UserId,
        id: FactorId,
    ) -> Result<Option<Method>> {
        let Some(found) = store::read::<FactorRecord>(plan.store, &(user, id))? else { return Ok(None) };
        let Some(contact) = reachable(plan.store, &found.record)? else { return Ok(None) };
        plan.batch.expect_unchanged(&contact);
        let method = found.record.method();
        let new = FactorRecord { used: Some(plan.now), ..found.record.clone() };
        plan.batch.replace(&found, &new)?;
        Ok(Some(method))
    }

    /// Counts a wrong answer. The fifth ends the login.
    pub(super) fn refuse_answer(
        &self,
        challenge: &Stored<ChallengeRecord>,
        why: &str,
        client: &Client,
        admission: Option<&Admission<'_>>,
    ) -> Result<LoginStep> {
        let (user, proved) = (challenge.record.user, challenge.record.methods);
        let refused = admission.map(Admission::refused_before).unwrap_or_default();
        self.write(Actor::Anonymous, |plan| {
            let mut detail = format!("{why}{refused}");
            if let Some(live) = store::read::<ChallengeRecord>(plan.store, &challenge.record.id)? {
                let failures = live.record.failures.saturating_add(1);
                if failures >= MAX_FAILURES {
                    plan.batch.remove(&live);
                    detail.push_str("; too many of them, the login is given up");
                    plan.notify(Event::of(user, EventKind::PartialLogin(proved)).from(client));
                } else {
                    plan.batch.replace(&live, &ChallengeRecord { failures, ..live.record.clone() })?;
                }
            }
            let outcome = (LoginOutcome::WrongFactor, proved);
            self.stage_refusal(plan, Some(user), &detail, outcome, client)?;
            admission.map_or(Ok(()), |admission| admission.failed(plan, Some(user), Fault::Wrong))
        })?;
        Ok(LoginStep::Denied(Denial::Credentials))
    }
}

impl Challenge {
    /// The token as text, for the next step.
    pub(super) fn text(&self) -> &str {
        self.token.as_str()
    }
}

impl AsRef<str> for Challenge {
    fn as_ref(&self) -> &str {
        self.text()
    }
}
