//! Passwords that their users choose by a token: the first one of who was invited, and another one of who forgot it.

use super::issue::{email_of, first_email, stage};
use super::recovery::{Lack, Presented, guess_at};
use super::{IssuedTicket, Tickets};
use crate::assurance::Method;
use crate::audit::{Actor, AuditKind, Subject};
use crate::credential::CredentialRecord;
use crate::crypto::{Purpose, RecoveryCode, Source};
use crate::engine::Engine;
use crate::engine::bookkeeping::Leftover;
use crate::engine::events::{Event, EventKind};
use crate::engine::login::Answer;
use crate::engine::passwords::{Prepared, stage_new_password};
use crate::engine::throttle::Attempt;
use crate::engine::users::{expect_homes, warn_of_likeness};
use crate::engine::warrant;
use crate::engine::write::{Entry, Plan};
use crate::error::{Error, Result};
use crate::id::{ContactId, UserId};
use crate::session::Client;
use crate::store::{self, Stored};
use crate::ticket::{Side, TicketPurpose};
use crate::user::{self, ContactKind, ContactRecord, NewUser, Status, StatusKind, User, UserRecord};
use std::collections::BTreeSet;

/// A password that was reset.
#[derive(Debug)]
pub struct PasswordReset {
    user: UserId,
    successor: Option<RecoveryCode>,
}

impl PasswordReset {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Where a recovery code was used: the one that takes its place, to be shown to the user.
    #[must_use]
    pub fn new_recovery_code(&self) -> Option<&RecoveryCode> {
        self.successor.as_ref()
    }
}

impl Tickets<'_> {
    /// Issues a token to set another password to whoever has that login name or verified e-mail address, for a stranger who
    /// says to be the user.
    ///
    /// `Some` says whom to mail, and is not for the stranger to see: answer in the same words whatever this returns, and
    /// send the mail after the answer, so that its time does not tell whether there is such an account (OWASP ASVS 5.0
    /// 6.3.8). A name that nobody has costs a commit like one that somebody has. A token goes to a verified address only:
    /// the one that was given, or the user's first one where a login name was given. Limit how often a source and an
    /// account may ask.
    ///
    /// # Errors
    /// `InvalidInput` for a client detail that breaks a rule; the storage kinds.
    pub fn request_password_reset(&self, name: &str, client: &Client) -> Result<Option<IssuedTicket>> {
        self.gate.engine().request(TicketPurpose::PasswordReset, name, None, client)
    }

    /// Issues a token to set another password in the name of an administrator or the application, who does not learn the
    /// password (OWASP ASVS 5.0 6.4.6): to one of the user's e-mail addresses, or to be handed over in another way where
    /// none is named.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a contact that is no e-mail address, and where the account is not active; the storage
    /// kinds.
    pub fn start_password_reset(&self, user: UserId, contact: Option<ContactId>) -> Result<IssuedTicket> {
        self.issue_to(user, TicketPurpose::PasswordReset, ("start a password reset", ""), |plan, account| {
            if !account.status.is_active_at(plan.now) {
                return Err(Error::invalid(
                    "user",
                    format!("{user} is not active, so that no password helps"),
                ));
            }
            contact.map(|id| email_of(plan.store, user, id)).transpose()
        })
    }

    /// Issues a token to a user, in the name of whoever may administer that user, to the address that is found for it if
    /// any is. What is told is what a delegated handle tries, and what the audit record says besides.
    fn issue_to(
        &self,
        user: UserId,
        purpose: TicketPurpose,
        (tries, how): (&str, &str),
        address: impl Fn(&Plan<'_>, &UserRecord) -> Result<Option<Stored<ContactRecord>>>,
    ) -> Result<IssuedTicket> {
        let engine = self.gate.engine();
        let minted = engine.mint(purpose, Side::Present)?;
        let (ticket, _) = engine.write(self.gate.actor(), |plan| {
            let account = user::read_user(plan.store, user)?;
            warrant::may_administer(plan, user, tries)?;
            let contact = address(plan, &account.record)?;
            let mut ticket =
                engine.new_ticket(plan, purpose, &account, contact.as_ref(), vec![minted.end])?;
            stage(plan, &mut ticket, how)?;
            Ok(ticket.public(Side::Present))
        })?;
        Ok(minted.issued(ticket))
    }

    /// Sets the password that somebody chose who presents a reset token. Every session, login under way and magic link of
    /// the user ends, and no session begins: the user logs in with the new password, and with whatever else is asked for.
    ///
    /// A user who has a second factor must present it here, too, for a mailbox alone must not open what two factors keep
    /// shut (NIST SP 800-63B-4, section 4.2.2.2; OWASP ASVS 5.0 6.4.3): [`reset_methods`](Self::reset_methods) says which,
    /// [`send_reset_code`](Self::send_reset_code) makes a code for a telephone, and `ask_for_reset_passkey` asks for a passkey. Where it is missing or wrong the token
    /// is not spent; the fifth wrong one ends it, and until the time at which it would have ended by itself a stranger gets
    /// no other one.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket), before any hash is computed, or with
    /// [`Denial::FactorRequired`](crate::Denial::FactorRequired); `InvalidInput` for a password or client detail that breaks
    /// a rule, which leaves the token good; `Busy`; the storage kinds.
    pub fn reset_password(
        &self,
        token: impl AsRef<str>,
        password: &str,
        factor: Option<&Answer>,
        client: &Client,
    ) -> Result<PasswordReset> {
        self.reset(token.as_ref(), password, factor, client, false)
    }

    /// As [`reset_password`](Self::reset_password), and the user's sessions go on. For a user who forgot the password and
    /// fears nothing else; one who does should not be offered the choice.
    ///
    /// # Errors
    /// As [`reset_password`](Self::reset_password).
    pub fn reset_password_and_keep_sessions(
        &self,
        token: impl AsRef<str>,
        password: &str,
        factor: Option<&Answer>,
        client: &Client,
    ) -> Result<PasswordReset> {
        self.reset(token.as_ref(), password, factor, client, true)
    }

    fn reset(
        &self,
        token: &str,
        password: &str,
        factor: Option<&Answer>,
        client: &Client,
        keep: bool,
    ) -> Result<PasswordReset> {
        let (engine, purpose) = (self.gate.engine(), Purpose::PasswordReset);
        let mut admission = engine.admitted(client)?;
        let good = engine.look_at(purpose, token, &admission)?;
        let (ticket, user) = (&good.ticket.record, good.user());
        let guess = factor.and_then(guess_at);
        if let Some(method) = guess {
            // One attempt at a time is under way: from here on it is one at the factor.
            drop(admission);
            admission = engine.admit(&Attempt::step(user, method, client))?.map_err(Error::denied)?;
        }
        let factor = factor.map(|factor| engine.presented(ticket, factor, client)).transpose()?;
        let tried =
            engine.try_out(|plan| engine.second_factor_for_recovery(plan, ticket, factor.as_ref()))?;
        match tried {
            // What is staged by it is for the commit.
            #[cfg(feature = "passkeys")]
            Err(Lack::Passkey(_)) if matches!(factor, Some(Presented::Passkey(_))) => {}
            Err(lack) => return Err(engine.refuse_ticket(&lack.refused(ticket), &admission)),
            Ok(_) if guess.is_some() && admission.is_stopped(user)? => {
                return Err(engine.refuse_ticket(&Lack::Stopped.refused(ticket), &admission));
            }
            Ok(_) => {}
        }
        let prepared = engine.chosen_password(&good.account.record, password, client)?;
        let from = client.source().map(|ip| format!(" from {ip}")).unwrap_or_default();
        let reset = engine.redeem(purpose, token, &admission, |plan, good| {
            let (user, then, ticket) = (good.user(), ticket, &good.ticket.record);
            // A code that was sent meanwhile, or a passkey that was asked for, takes the place of the one before it.
            let factor = match &factor {
                Some(factor) if factor.is_outdated(then, ticket) => Some(&Presented::Other),
                factor => factor.as_ref(),
            };
            let successor = match engine.second_factor_for_recovery(plan, ticket, factor)? {
                Ok(successor) => successor,
                Err(lack) => return Ok(Err(lack.refused(ticket))),
            };
            if guess.is_some() && admission.succeeded(plan, user)?.is_err() {
                return Ok(Err(Lack::Stopped.refused(ticket)));
            }
            // Whoever was stopped after too many wrong passwords has another one now (NIST SP 800-63B-4, section 3.2.2).
            engine.forget_failures(plan, user, Some(Method::Password))?;
            stage_new_password(plan, &engine.passwords.policy, user, &prepared)?;
            if !keep {
                user::stage_generation(plan.store, &mut plan.batch, user)?;
                plan.leave(Leftover::Sessions(user))?;
            }
            good.spend(plan, "")?;
            let kept = if keep { "; sessions go on" } else { "" };
            plan.notify(Event::of(user, EventKind::PasswordChanged).from(client));
            let entry = Entry::of(Subject::User(user)).detail(format!("by a reset{from}{kept}"));
            plan.record(AuditKind::PasswordChange, entry)?;
            Ok(Ok(PasswordReset { user, successor }))
        })?;
        engine.sweep_after(Leftover::Sessions(reset.user));
        Ok(reset)
    }

    /// Creates a pending user and issues the token by which that user sets the first password and becomes active. It goes
    /// to the first of the new user's e-mail addresses, which counts as verified then, or is handed over in another way
    /// where there is none.
    ///
    /// # Errors
    /// As [`Users::create`](crate::Users::create); `InvalidInput` where a password is given, which is the user's to choose,
    /// or a status other than active or pending.
    pub fn invite(&self, new: NewUser) -> Result<(User, IssuedTicket)> {
        if new.password.is_some() {
            return Err(Error::invalid("password", "is given; who is invited chooses it alone"));
        }
        if new.service {
            let message =
                "is a service account, which nobody can be invited to; create it and give it an API key";
            return Err(Error::invalid("user", message));
        }
        if !matches!(new.status.kind, StatusKind::Active | StatusKind::Pending) {
            return Err(Error::invalid("status", "is given; who is invited is pending, then active"));
        }
        let (new, engine) = (new.status(Status::pending()), self.gate.engine());
        let homes = BTreeSet::from([new.home]);
        self.gate.rehearse(|plan| warrant::may_create_users(plan, &homes))?;
        let minted = engine.mint(TicketPurpose::Invitation, Side::Present)?;
        let id = engine.user_ids.next(&*engine.store)?;
        let ((record, ticket), stamp) = engine.write(self.gate.actor(), |plan| {
            expect_homes(plan, &homes)?;
            warrant::may_create_users(plan, &homes)?;
            let (record, like) =
                user::stage_create(plan.store, &mut plan.batch, id, &new, plan.now, engine.names)?;
            warn_of_likeness(plan, &record, like)?;
            let entry = Entry::of(Subject::User(id)).detail(record.login.as_str());
            plan.record(AuditKind::UserCreated, entry)?;
            let contact = first_of_new(&new, id);
            let purpose = TicketPurpose::Invitation;
            let mut ticket =
                engine.bare_ticket(plan.now, purpose, &record, contact.as_ref(), vec![minted.end]);
            stage(plan, &mut ticket, "")?;
            Ok((record, ticket.public(Side::Present)))
        })?;
        Ok((record.public(stamp), minted.issued(ticket)))
    }

    /// Issues another invitation to a pending user who has no password yet, to the first of the user's e-mail addresses if
    /// there is one. The one before it is worth nothing any more.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where the user is not pending or has a password; the storage kinds.
    pub fn invite_again(&self, user: UserId) -> Result<IssuedTicket> {
        self.issue_to(user, TicketPurpose::Invitation, ("invite a user again", "again"), |plan, account| {
            let has_password = store::read::<CredentialRecord>(plan.store, &user)?.is_some();
            if account.status.kind != StatusKind::Pending || has_password {
                let message =
                    format!("{user} is not pending without a password, so that there is nothing to accept");
                return Err(Error::invalid("user", message));
            }
            first_email(plan.store, user, false)
        })
    }

    /// Sets the first password of an invited user, makes the account active, and notes that the address is verified to
    /// which the invitation went. No session begins.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket), before any hash is computed; `InvalidInput` for a password
    /// or client detail that breaks a rule, which leaves the token good; `AlreadyExists` where somebody else has verified
    /// the address meanwhile; `Busy`; the storage kinds.
    pub fn accept_invitation(
        &self,
        token: impl AsRef<str>,
        password: &str,
        client: &Client,
    ) -> Result<UserId> {
        let (engine, token) = (self.gate.engine(), token.as_ref());
        let admission = engine.admitted(client)?;
        let good = engine.look_at(Purpose::Invitation, token, &admission)?;
        let prepared = engine.chosen_password(&good.account.record, password, client)?;
        engine.redeem(Purpose::Invitation, token, &admission, |plan, good| {
            let user = good.user();
            stage_new_password(plan, &engine.passwords.policy, user, &prepared)?;
            super::email::stage_proved(plan, good)?;
            good.spend(plan, "")?;
            plan.notify(Event::of(user, EventKind::PasswordChanged).from(client));
            plan.record(
                AuditKind::PasswordChange,
                Entry::of(Subject::User(user)).detail("by an invitation"),
            )?;
            Ok(Ok(user))
        })
    }
}

/// The first e-mail address of a user that is created in this commit: contacts are numbered in the order given.
fn first_of_new(new: &NewUser, user: UserId) -> Option<ContactRecord> {
    let (number, contact) =
        (0..).zip(&new.contacts).find(|(_, contact)| contact.kind == ContactKind::Email)?;
    Some(ContactRecord {
        user,
        id: ContactId::from_number(number),
        kind: contact.kind,
        label: contact.label.clone(),
        value: contact.value.clone(),
        email: None,
        verified: None,
    })
}

impl Engine {
    /// A password that somebody chose by a token: the rules, then what is dear. The one place of both.
    fn chosen_password(&self, user: &UserRecord, password: &str, client: &Client) -> Result<Prepared> {
        self.check_new_password(user, password)?;
        self.prepare_for(Actor::User(user.id), user.id, password, Source::of(client.ip))
    }
}
