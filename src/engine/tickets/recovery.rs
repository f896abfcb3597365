//! The second factor that a password reset must come with, where its user has one.

use super::Tickets;
use super::redeem::{Refused, examine};
use crate::assurance::Method;
use crate::audit::{AuditKind, Subject};
use crate::crypto::{Purpose, RecoveryCode, Source, sent_code};
use crate::engine::Engine;
use crate::engine::factors::SecondSteps;
use crate::engine::login::{Answer, AnswerKind, CODE_LIFE, CodeToSend, LONGEST, reachable};
#[cfg(feature = "passkeys")]
use crate::engine::passkeys::{Assertion, stage_assertion};
use crate::engine::write::{Entry, Plan};
use crate::error::{Denial, Error, Result};
use crate::factor;
use crate::id::{FactorId, UserId};
use crate::session::Client;
use crate::ticket::{ResetCode, TicketRecord};

/// Most codes that are sent for one token.
const MAX_SENT: u8 = 5;

/// A second factor as it is presented: one that is still to be checked, or the factor to which the code was sent that was
/// found right.
pub(super) enum Presented<'p> {
    Totp(&'p str),
    RecoveryCode(&'p str),
    SentCode(FactorId),
    /// A passkey whose signature was found right.
    #[cfg(feature = "passkeys")]
    Passkey(Box<Assertion>),
    /// One whose signature was not.
    #[cfg(feature = "passkeys")]
    NoPasskey(&'static str),
    /// None that counts.
    Other,
}

impl Presented<'_> {
    /// Whether it was found right for what the ticket asked for by then, and the ticket has asked for something else since.
    pub(super) fn is_outdated(&self, then: &TicketRecord, now: &TicketRecord) -> bool {
        match self {
            Self::SentCode(_) => then.code != now.code,
            #[cfg(feature = "passkeys")]
            Self::Passkey(_) => then.assertion != now.assertion,
            _ => false,
        }
    }
}

/// Why a reset does not go on.
pub(super) enum Lack {
    Missing,
    Wrong(&'static str),
    #[cfg(feature = "passkeys")]
    Passkey(&'static str),
    /// After too many wrong ones in a row.
    Stopped,
}

impl Lack {
    pub(super) fn refused(&self, ticket: &TicketRecord) -> Refused {
        match self {
            Self::Missing => Refused::factor(ticket, "a second factor is asked for", false),
            Self::Stopped => Refused::factor(ticket, "too many failures in a row", true),
            #[cfg(feature = "passkeys")]
            Self::Passkey(why) => Refused::passkey(ticket, why),
            Self::Wrong(what) => Refused::factor(ticket, what, true),
        }
    }
}

impl Tickets<'_> {
    /// The methods one of which must be presented with a reset token, if its user has a second factor; none where none is
    /// asked for. Writes nothing. Codes by e-mail are not among them: whoever presents the token reads mail.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket); the storage kinds.
    pub fn reset_methods(&self, token: impl AsRef<str>) -> Result<Vec<Method>> {
        let engine = self.gate.engine();
        let looked = examine(&*engine.store, engine.now(), Purpose::PasswordReset, token.as_ref())?;
        let good = looked.map_err(|_| Error::denied(Denial::Ticket))?;
        engine.try_out(|plan| Ok(engine.recovery_steps(plan, good.user())?.methods))
    }

    /// Makes a code for a telephone number of the user that was [enrolled](crate::Factors::enrol_contact), for the
    /// application to deliver, to be presented with this reset token and no other one. It is good for ten minutes at most,
    /// and takes the place of one that was sent before; at most five are sent for one token.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket) or [`Denial::Throttled`](crate::Denial::Throttled);
    /// `InvalidInput` for a client detail that breaks a rule; `NotFound` where the factor is none to send codes by
    /// telephone to; `LimitExceeded` for the sixth; `Busy`; the storage kinds.
    pub fn send_reset_code(
        &self,
        token: impl AsRef<str>,
        factor: FactorId,
        client: &Client,
    ) -> Result<CodeToSend> {
        let (engine, token) = (self.gate.engine(), token.as_ref());
        let admission = engine.admitted(client)?;
        engine.look_at(Purpose::PasswordReset, token, &admission)?;
        let code = sent_code(&*engine.entropy)?;
        let phc = engine.hasher.hash(&code, Source::of(client.ip))?;
        let (contact, expires) = engine.redeem(Purpose::PasswordReset, token, &admission, |plan, good| {
            let ticket = &good.ticket.record;
            if ticket.sent >= MAX_SENT {
                let message = format!("{MAX_SENT} codes were sent; ask for another reset");
                return Err(Error::limit("ticket", message));
            }
            let sent_to = factor::read_factor(plan.store, good.user(), factor)?;
            let contact = match sent_to.record.method() {
                Method::SmsCode => reachable(plan.store, &sent_to.record)?,
                _ => None,
            };
            let contact = contact
                .ok_or_else(|| Error::not_found("factor", format_args!("a telephone number of {factor}")))?;
            let counted = factor::with_code_sent(&sent_to.record, plan.now)?;
            plan.batch.replace(&sent_to, &counted)?;
            plan.batch.expect_unchanged(&contact);
            let expires = ticket.expires.min(plan.now.saturating_add(CODE_LIFE));
            let code = Some(ResetCode { factor, phc: phc.clone(), expires });
            plan.batch
                .replace(&good.ticket, &TicketRecord { code, sent: ticket.sent + 1, ..ticket.clone() })?;
            let detail = format!("for {factor}: {}, to reset the password", sent_to.record.method());
            plan.record(AuditKind::CodeSent, Entry::of(Subject::User(good.user())).detail(detail))?;
            Ok(Ok((contact.record, expires)))
        })?;
        Ok(CodeToSend::new(contact.into(), code, expires))
    }
}

/// The method that an answer is a guess at, if it can be one.
pub(super) fn guess_at(factor: &Answer) -> Option<Method> {
    match factor.kind() {
        AnswerKind::Totp(_) => Some(Method::Totp),
        AnswerKind::RecoveryCode(_) => Some(Method::RecoveryCode),
        AnswerKind::SentCode(_) => Some(Method::SmsCode),
        // Nobody guesses a signature.
        #[cfg(feature = "passkeys")]
        AnswerKind::Passkey(_) => None,
        AnswerKind::NewPassword(_) => None,
    }
}

#[cfg(feature = "passkeys")]
impl Tickets<'_> {
    /// Asks the user of a reset token for a passkey: options for the browser, whose answer is
    /// [`Answer::passkey`](crate::Answer::passkey), for this token and no other one. They take the place of those that were
    /// asked for before.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket) or [`Denial::Throttled`](crate::Denial::Throttled);
    /// `NotFound` where the user has no passkey that could answer; `InvalidInput` where no relying party is set, or for a
    /// client detail that breaks a rule; the storage kinds.
    pub fn ask_for_reset_passkey(&self, token: impl AsRef<str>, client: &Client) -> Result<String> {
        let (engine, token) = (self.gate.engine(), token.as_ref());
        let admission = engine.admitted(client)?;
        let user = engine.look_at(Purpose::PasswordReset, token, &admission)?.user();
        let (options, state) = engine
            .start_assertion(user)?
            .ok_or_else(|| Error::not_found("passkey", format_args!("one of {user} that could be used")))?;
        engine.redeem(Purpose::PasswordReset, token, &admission, |plan, good| {
            let (assertion, ticket) = (Some(state.clone()), good.ticket.record.clone());
            plan.batch.replace(&good.ticket, &TicketRecord { assertion, ..ticket })?;
            Ok(Ok(()))
        })?;
        Ok(options)
    }
}

impl Engine {
    /// What is presented beside a reset token. The hash of a code that was sent is computed here, outside of any plan.
    pub(super) fn presented<'p>(
        &self,
        ticket: &TicketRecord,
        factor: &'p Answer,
        client: &Client,
    ) -> Result<Presented<'p>> {
        let text = factor.secret().expose();
        if text.len() > factor.longest() {
            let message = format!("has {} bytes; at most {LONGEST} are taken", text.len());
            return Err(Error::invalid("answer", message));
        }
        Ok(match factor.kind() {
            AnswerKind::Totp(_) => Presented::Totp(text),
            AnswerKind::RecoveryCode(_) => Presented::RecoveryCode(text),
            AnswerKind::SentCode(_) => match ticket.code.as_ref().filter(|sent| sent.expires > self.now()) {
                Some(sent) if self.is_sent_code(ticket.user, text, &sent.phc, client)? => {
                    Presented::SentCode(sent.factor)
                }
                _ => Presented::Other,
            },
            #[cfg(feature = "passkeys")]
            AnswerKind::Passkey(_) => match &ticket.assertion {
                Some(state) => match self.check_assertion(state, text)? {
                    Ok(assertion) => Presented::Passkey(Box::new(assertion)),
                    Err(refusal) => Presented::NoPasskey(refusal.detail()),
                },
                None => Presented::NoPasskey("no passkey was asked for"),
            },
            AnswerKind::NewPassword(_) => Presented::Other,
        })
    }

    /// The methods by which the user can accompany a reset.
    fn recovery_steps(&self, plan: &Plan<'_>, user: UserId) -> Result<SecondSteps> {
        let mut steps = self.second_steps(plan, user)?;
        steps.methods.retain(|method| *method != Method::EmailCode);
        // Recovery codes stand in for another factor, and are none by themselves.
        if steps.methods == [Method::RecoveryCode] && !steps.blocked {
            steps.methods.clear();
        }
        Ok(steps)
    }

    /// Stages the use of the second factor that whoever resets a password must present, if the user has one. What takes
    /// the place of a recovery code.
    ///
    /// Which factors the user has is read here; the commit expects the user's row, which every change of them rewrites.
    pub(super) fn second_factor_for_recovery(
        &self,
        plan: &mut Plan<'_>,
        ticket: &TicketRecord,
        factor: Option<&Presented<'_>>,
    ) -> Result<Result<Option<RecoveryCode>, Lack>> {
        let user = ticket.user;
        let due = self.recovery_steps(plan, user)?.due();
        let Some(factor) = factor else { return Ok(if due { Err(Lack::Missing) } else { Ok(None) }) };
        if !due {
            return Ok(Err(Lack::Wrong("a second factor was presented, and the user has none")));
        }
        Ok(match factor {
            Presented::Totp(code) => match self.stage_totp_use(plan, user, code, None)? {
                true => Ok(None),
                false => Err(Lack::Wrong("wrong second factor: totp")),
            },
            Presented::RecoveryCode(code) => match self.stage_recovery_use(plan, user, code)? {
                Some(successor) => Ok(Some(successor)),
                None => Err(Lack::Wrong("wrong second factor: recovery_code")),
            },
            // To a factor that the user still has, and whose contact is still verified.
            Presented::SentCode(factor) => match self.sent_code_use(plan, user, *factor)? {
                Some(Method::SmsCode) => Ok(None),
                _ => Err(Lack::Wrong("wrong second factor: sent code")),
            },
            #[cfg(feature = "passkeys")]
            Presented::Passkey(assertion) => match stage_assertion(plan, assertion)? {
                Ok(_) => Ok(None),
                Err(refusal) => Err(Lack::Passkey(refusal.detail())),
            },
            #[cfg(feature = "passkeys")]
            Presented::NoPasskey(why) => Err(Lack::Passkey(why)),
            Presented::Other => Err(Lack::Wrong("wrong second factor")),
        })
    }
}
