//! One-time tokens: secrets that are sent to somebody, and do one thing once.
//!
//! Issuing, looking at and spending are apart: `issue` makes a token and the row that knows its digest, `redeem` finds the
//! row of a presented one and decides whether it is good, and the rest has one file for what each purpose does. What a
//! token does and that it is spent are one commit.

mod email;
mod expired;
mod issue;
mod link;
mod password;
mod recovery;
mod redeem;
#[cfg(test)]
mod tests;

pub use email::{EmailChange, EmailChangeStep};
pub use link::MagicLink;
pub(super) use link::PresentedLink;
pub use password::PasswordReset;
pub(super) use redeem::Refused;

use super::Portcullis;
use super::page::{Page, PageRequest};
use super::warrant;
use super::write::{Entry, Plan};
use crate::audit::{AuditKind, Subject};
use crate::crypto::{OneTimeToken, Purpose};
use crate::error::{Error, Result};
use crate::id::{Key, TicketId, UserId};
use crate::store::{self, Record, Scan, Stored};
use crate::ticket::{self, Fate, Side, Ticket, TicketRecord};
use crate::user;

/// Tickets that one commit revokes, and how many are read for that at a time.
const BATCH: usize = 64;

/// Issues and redeems one-time tokens; get it from [`Portcullis::tickets`].
///
/// A token is shown once, by the call that issues it, and it is for the caller to send it: to [`IssuedTicket::address`] and
/// nowhere else, in a link or to be copied. The database has its digest. It is good once, until its end
/// ([`TicketLives`](crate::TicketLives)), for its purpose alone; a newer one of the same user and purpose takes its place,
/// and it is worth nothing once the contact it was sent to is changed or removed, or the account is disabled. What it does
/// and that it is spent are one commit. Whatever is wrong with a token, the answer is
/// [`Denial::Ticket`](crate::Denial::Ticket); the audit log has the true reason.
///
/// Mail scanners open links. Let a link show a page that asks [`preview`](Self::preview), and redeem the token when its
/// button is pressed.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, NewUser, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// let (ada, invitation) = gate.tickets().invite(NewUser::new("ada").email("ada@example.org"))?;
/// assert_eq!(invitation.address(), Some("ada@example.org"));
/// // Ada follows the link in the mail and chooses a password.
/// gate.tickets().accept_invitation(invitation.token(), "correct horse battery staple", &Client::new())?;
///
/// // Months later somebody says to be Ada and to have forgotten it. The answer to them is the same if this is `None`.
/// if let Some(reset) = gate.tickets().request_password_reset("ada@example.org", &Client::new())? {
///     // Send it to `reset.address()`; whoever reads that mailbox comes back with it.
///     gate.tickets().reset_password(reset.token(), "another horse, another battery", None, &Client::new())?;
///     assert!(gate.tickets().preview(reset.token())?.is_none());
/// }
/// # let _ = ada;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tickets<'g> {
    pub(super) gate: &'g Portcullis,
}

/// A one-time token that was just issued: the only place where it is ever seen. `Debug` does not show it.
#[derive(Debug)]
pub struct IssuedTicket {
    token: OneTimeToken,
    ticket: Ticket,
}

impl IssuedTicket {
    /// The token to send; it can not be had again.
    #[must_use]
    pub fn token(&self) -> &OneTimeToken {
        &self.token
    }

    /// Where to send it; `None` where it is handed over in another way.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.ticket.address.as_deref()
    }

    /// What it is for, for whom, and until when.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

impl Portcullis {
    /// One-time tokens: e-mail verification, password reset, invitation, magic link, e-mail change.
    #[must_use]
    pub fn tickets(&self) -> Tickets<'_> {
        Tickets { gate: self }
    }
}

impl Tickets<'_> {
    /// What a token is good for at this moment, without spending it or writing anything; `None` if it is good for nothing.
    ///
    /// # Errors
    /// The storage kinds.
    pub fn preview(&self, token: impl AsRef<str>) -> Result<Option<Ticket>> {
        let engine = self.gate.engine();
        for purpose in Purpose::OF_TICKETS {
            if let Ok(good) = redeem::examine(&*engine.store, engine.now(), purpose, token.as_ref())? {
                // The present address can still refuse a change that it has confirmed.
                let open = !good.confirmed || good.side == Side::Present;
                return Ok(open.then(|| good.ticket.record.public(good.side)));
            }
        }
        Ok(None)
    }

    /// The user's tokens that are good at this moment, without their secrets.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<Ticket>> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, user)?;
        let (found, next) =
            store::page::<TicketRecord>(&*engine.store, &page.scan(TicketRecord::TABLE, &user.bytes())?)?;
        Page::new(found, TicketRecord::TABLE, next).try_filter_map(|stored| {
            let ticket = stored.record.public(Side::Present);
            Ok(engine.is_good(stored)?.then_some(ticket))
        })
    }

    /// Makes a token worthless; both of an e-mail change.
    ///
    /// # Errors
    /// `NotFound` where it is spent, revoked, past its end or replaced by a newer one; the storage kinds.
    pub fn revoke(&self, id: TicketId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            let found = ticket::find_by_number(plan.store, id.get())?.filter(|found| {
                found.record.fate_at(plan.now) == Fate::Live
                    && found.record.ends.iter().any(|end| end.number == id.get())
            });
            let found = found.ok_or_else(|| Error::not_found("ticket", id))?;
            let user = found.record.user;
            warrant::may_administer(plan, user, "revoke a one-time token")?;
            stage_revoked(plan, &found)?;
            let entry = Entry::of(Subject::User(user)).detail(describe(&found.record));
            plan.record(AuditKind::TicketRevoked, entry)
        })?;
        Ok(())
    }

    /// Makes all tokens of a user worthless, at most 64 in one commit.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn revoke_all(&self, user: UserId) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (next, _) = self.gate.engine().write(self.gate.actor(), |plan| {
                let account = user::read_user(plan.store, user)?;
                warrant::may_administer(plan, user, "revoke all one-time tokens")?;
                let prefix = user.bytes();
                let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: BATCH, descending: false };
                let (found, next) = store::page::<TicketRecord>(plan.store, &scan)?;
                let (mut revoked, now) = (0, plan.now);
                for ticket in found.iter().filter(|found| found.record.fate_at(now) == Fate::Live) {
                    stage_revoked(plan, ticket)?;
                    revoked += 1;
                }
                if revoked > 0 {
                    plan.batch.expect_unchanged(&account);
                    let entry = Entry::of(Subject::User(user)).detail(format!("{revoked} one-time tokens"));
                    plan.record(AuditKind::TicketRevoked, entry)?;
                }
                Ok(next)
            })?;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }
}

fn stage_revoked(plan: &mut Plan<'_>, ticket: &Stored<TicketRecord>) -> Result<()> {
    let revoked = TicketRecord { fate: Fate::Revoked, ..ticket.record.clone() };
    plan.batch.replace(ticket, &revoked)
}

/// A ticket in words, without an address.
fn describe(ticket: &TicketRecord) -> String {
    match ticket.contact {
        Some(contact) => format!("{} ({}, {contact})", ticket.purpose, ticket.id()),
        None => format!("{} ({})", ticket.purpose, ticket.id()),
    }
}
