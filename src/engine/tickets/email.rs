//! E-mail addresses: that a user holds one, and that another one takes its place.

use super::issue::{email_of, stage};
use super::redeem::{Good, Refused};
use super::{IssuedTicket, Tickets};
use crate::audit::{AuditKind, Subject};
use crate::crypto::{Presented, Purpose};
use crate::engine::events::{Event, EventKind};
use crate::engine::warrant;
use crate::engine::write::{Entry, Plan};
use crate::error::{Error, Result};
use crate::id::{ContactId, UserId};
use crate::session::Client;
use crate::ticket::{Fate, Side, TicketPurpose, TicketRecord};
use crate::user::{self, Contact, NewContact, Status, StatusKind};

/// The two tokens of an e-mail change, one to each address.
#[derive(Debug)]
#[non_exhaustive]
pub struct EmailChange {
    /// For the address that is to be replaced. It can also refuse.
    pub present: IssuedTicket,
    /// For the address that is to take its place.
    pub new: IssuedTicket,
}

/// Where an e-mail change stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailChangeStep {
    /// The other address has not confirmed yet.
    Waiting,
    /// Both have confirmed; the contact as it is now.
    Done(Contact),
}

impl Tickets<'_> {
    /// Issues a token by which a user proves to hold an e-mail address.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a contact that is no e-mail address; the storage kinds.
    pub fn verify_email(&self, user: UserId, contact: ContactId) -> Result<IssuedTicket> {
        self.issue_verification(user, contact, false)
    }

    /// The same for somebody who signs up: a pending account becomes active by it. Not for one that waits for anything else,
    /// such as an approval.
    ///
    /// # Errors
    /// As [`verify_email`](Self::verify_email); `InvalidInput` where the account is not pending.
    pub fn verify_email_to_activate(&self, user: UserId, contact: ContactId) -> Result<IssuedTicket> {
        self.issue_verification(user, contact, true)
    }

    fn issue_verification(&self, user: UserId, contact: ContactId, activates: bool) -> Result<IssuedTicket> {
        let (engine, purpose) = (self.gate.engine(), TicketPurpose::EmailVerification);
        let minted = engine.mint(purpose, Side::Present)?;
        let (ticket, _) = engine.write(self.gate.actor(), |plan| {
            let account = user::read_user(plan.store, user)?;
            warrant::may_administer(plan, user, "verify an e-mail address")?;
            if activates && account.record.status.kind != StatusKind::Pending {
                return Err(Error::invalid(
                    "user",
                    format!("{user} is not pending, so that nothing is to be activated"),
                ));
            }
            let contact = email_of(plan.store, user, contact)?;
            let mut ticket = engine.new_ticket(plan, purpose, &account, Some(&contact), vec![minted.end])?;
            if activates {
                // Whoever is disabled and made to wait again meanwhile waits for something else.
                (ticket.activates, ticket.generation) = (true, Some(account.record.generation));
            }
            stage(plan, &mut ticket, if activates { "activates" } else { "" })?;
            Ok(ticket.public(Side::Present))
        })?;
        Ok(minted.issued(ticket))
    }

    /// Notes that a user holds the e-mail address that the token was sent to.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket) or [`Denial::Throttled`](crate::Denial::Throttled);
    /// `InvalidInput` for a client detail that breaks a rule; `AlreadyExists` where somebody else has verified the address
    /// meanwhile; the storage kinds.
    pub fn confirm_email(&self, token: impl AsRef<str>, client: &Client) -> Result<Contact> {
        let engine = self.gate.engine();
        let admission = engine.admitted(client)?;
        engine.redeem(Purpose::EmailVerification, token.as_ref(), &admission, |plan, good| {
            let contact = stage_proved(plan, good)?
                .ok_or_else(|| Error::damaged(format!("{} has no contact", good.ticket.record.id())))?;
            good.spend(plan, "")?;
            Ok(Ok(contact))
        })
    }

    /// Begins to put a new e-mail address in the place of a contact's present one: issues a token for each. The change is
    /// made when both have confirmed it, in whichever order, so that neither somebody at an open session nor a typing error
    /// takes the account away from its mailbox; whoever reads the present one can [refuse](Self::refuse_email_change).
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a contact that is no e-mail address, for a new address that is none or is the present
    /// one, and where the account is not active; the storage kinds.
    pub fn change_email(&self, user: UserId, contact: ContactId, address: &str) -> Result<EmailChange> {
        NewContact::email(address).check()?;
        let (engine, purpose) = (self.gate.engine(), TicketPurpose::EmailChange);
        let (present, new) = (engine.mint(purpose, Side::Present)?, engine.mint(purpose, Side::New)?);
        let (tickets, _) = engine.write(self.gate.actor(), |plan| {
            let account = user::read_user(plan.store, user)?;
            warrant::may_administer(plan, user, "change an e-mail address")?;
            if !account.record.status.is_active_at(plan.now) {
                return Err(Error::invalid("user", format!("{user} is not active")));
            }
            let contact = email_of(plan.store, user, contact)?;
            if contact.record.value == address {
                return Err(Error::invalid("email", "is the address that the contact has"));
            }
            let ends = vec![present.end, new.end];
            let mut ticket = engine.new_ticket(plan, purpose, &account, Some(&contact), ends)?;
            ticket.new_address = Some(address.to_owned());
            stage(plan, &mut ticket, "")?;
            Ok([Side::Present, Side::New].map(|side| ticket.public(side)))
        })?;
        let [to_present, to_new] = tickets;
        Ok(EmailChange { present: present.issued(to_present), new: new.issued(to_new) })
    }

    /// Confirms an e-mail change at the end that the token was sent to; at the second one the change is made, and the new
    /// address is verified.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket) or [`Denial::Throttled`](crate::Denial::Throttled);
    /// `InvalidInput` for a client detail that breaks a rule; `AlreadyExists` where somebody else has verified the address
    /// meanwhile; the storage kinds.
    pub fn confirm_email_change(&self, token: impl AsRef<str>, client: &Client) -> Result<EmailChangeStep> {
        let token = token.as_ref();
        let new = Presented::parse_as(Purpose::NewAddress, token).is_some();
        let purpose = if new { Purpose::NewAddress } else { Purpose::OldAddress };
        let engine = self.gate.engine();
        let admission = engine.admitted(client)?;
        engine.redeem(purpose, token, &admission, |plan, good| {
            if good.confirmed {
                return Ok(Err(Refused::again(&good.ticket.record)));
            }
            let mut ticket = good.ticket.record.clone();
            for end in ticket.ends.iter_mut().filter(|end| end.side == good.side) {
                end.confirmed = Some(plan.now);
            }
            let side = if good.side == Side::New { "by the new address" } else { "by the present address" };
            if ticket.ends.iter().any(|end| end.confirmed.is_none()) {
                plan.batch.replace(&good.ticket, &ticket)?;
                good.used(plan, &format!("{side}; the other one is waited for"))?;
                return Ok(Ok(EmailChangeStep::Waiting));
            }
            ticket.fate = Fate::Used(plan.now);
            plan.batch.replace(&good.ticket, &ticket)?;
            good.used(plan, side)?;
            stage_change(plan, good.user(), &ticket).map(|contact| Ok(EmailChangeStep::Done(contact)))
        })
    }

    /// Refuses an e-mail change in the name of the present address: both tokens are worth nothing, whether one of them has
    /// confirmed or not. Whoever did not ask for the change has lost a session or a password to somebody: end the sessions
    /// of the user that this returns, and let the user set another password.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Ticket`](crate::Denial::Ticket), also where the change is made already, or
    /// [`Denial::Throttled`](crate::Denial::Throttled); `InvalidInput` for a client detail that breaks a rule; the storage
    /// kinds.
    pub fn refuse_email_change(&self, token: impl AsRef<str>, client: &Client) -> Result<UserId> {
        let engine = self.gate.engine();
        let admission = engine.admitted(client)?;
        engine.redeem(Purpose::OldAddress, token.as_ref(), &admission, |plan, good| {
            good.become_of(plan, Fate::Refused)?;
            let entry = Entry::of(Subject::User(good.user())).detail(super::describe(&good.ticket.record));
            plan.record(AuditKind::EmailChangeRefused, entry)?;
            if let Some(contact) = good.ticket.record.contact {
                plan.notify(Event::of(good.user(), EventKind::EmailChangeRefused(contact)));
            }
            Ok(Ok(good.user()))
        })
    }
}

/// Stages what follows from a token having come back from the address that it was sent to: the address is verified, and a
/// pending account becomes active where the token says so.
pub(super) fn stage_proved(plan: &mut Plan<'_>, good: &Good) -> Result<Option<Contact>> {
    let (user, mut proved) = (good.user(), None);
    if let Some(id) = good.ticket.record.contact {
        let contact = user::stage_contact_verified(plan.store, &mut plan.batch, user, id, plan.now)?;
        let entry = Entry::of(Subject::User(user)).detail(format!("contact verified: {id}"));
        plan.record(AuditKind::UserUpdated, entry)?;
        plan.notify(Event::of(user, EventKind::ContactChanged(id)));
        proved = Some(contact.into());
    }
    if good.ticket.record.activates && good.account.record.status.kind == StatusKind::Pending {
        // Last, so that of the two rows of the user that are staged the one with the new status is written.
        user::stage_status(plan.store, &mut plan.batch, user, &Status::active(), plan.now)?;
        plan.notify(Event::of(user, EventKind::StatusChanged(StatusKind::Active)));
        plan.record(AuditKind::UserStatusChanged, Entry::of(Subject::User(user)).detail("Active"))?;
    }
    Ok(proved)
}

/// Stages the new address in the place of the present one.
fn stage_change(plan: &mut Plan<'_>, user: UserId, ticket: &TicketRecord) -> Result<Contact> {
    let (Some(id), Some(address)) = (ticket.contact, &ticket.new_address) else {
        return Err(Error::damaged(format!("{} changes no address", ticket.id())));
    };
    let contact = user::stage_contact_changed(plan.store, &mut plan.batch, user, id, address, plan.now)?;
    let entry = Entry::of(Subject::User(user)).detail(format!("e-mail address changed: {id}"));
    plan.record(AuditKind::UserUpdated, entry)?;
    plan.notify(Event::of(user, EventKind::ContactChanged(id)));
    Ok(contact.into())
}
