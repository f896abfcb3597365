//! How a token comes to be: for a user whom the caller names, or for whoever a stranger says to be.

use super::{IssuedTicket, describe};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::clock::Timestamp;
use crate::credential::CredentialRecord;
use crate::crypto::OneTimeToken;
use crate::engine::Engine;
use crate::engine::login::{SERVICE_ACCOUNT, status_detail};
use crate::engine::write::{Entry, Plan};
use crate::error::{Error, Result};
use crate::id::{ContactId, Key, UserId};
use crate::session::Client;
use crate::store::{self, Expect, Record, Scan, Store, Stored};
use crate::text;
use crate::ticket::{End, Fate, MAX_FAILURES, Side, Ticket, TicketPurpose, TicketRecord};
use crate::user::{self, ContactKind, ContactRecord, NameRules, UserRecord};

/// Contacts that one step of a search reads.
const PAGE: usize = 256;

/// A token before its commit; the same one however often the commit is planned.
pub(super) struct Minted {
    pub(super) token: OneTimeToken,
    pub(super) end: End,
}

impl Minted {
    /// With what becomes of the ticket, once that is durable.
    pub(super) fn issued(self, ticket: Ticket) -> IssuedTicket {
        IssuedTicket { token: self.token, ticket }
    }
}

impl Engine {
    pub(super) fn mint(&self, purpose: TicketPurpose, side: Side) -> Result<Minted> {
        let (token, number, digest) = OneTimeToken::mint(&*self.entropy, purpose.of_token(side))?;
        Ok(Minted { token, end: End { side, number, digest: digest.0, confirmed: None } })
    }

    /// A ticket for a user, bound to what its purpose asks for. The commit expects what it is bound to.
    pub(super) fn new_ticket(
        &self,
        plan: &mut Plan<'_>,
        purpose: TicketPurpose,
        account: &Stored<UserRecord>,
        contact: Option<&Stored<ContactRecord>>,
        ends: Vec<End>,
    ) -> Result<TicketRecord> {
        match purpose {
            TicketPurpose::PasswordReset => account.record.refuse_service("password")?,
            TicketPurpose::Invitation => account.record.refuse_service("invitation")?,
            TicketPurpose::MagicLink => account.record.refuse_service("magic link")?,
            _ => {}
        }
        plan.batch.expect_unchanged(account);
        if let Some(contact) = contact {
            plan.batch.expect_unchanged(contact);
        }
        let user = account.record.id;
        let revision = match purpose {
            TicketPurpose::PasswordReset | TicketPurpose::Invitation => Some(expect_password(plan, user)?),
            _ => None,
        };
        let mut ticket = self.bare_ticket(
            plan.now,
            purpose,
            &account.record,
            contact.map(|contact| &contact.record),
            ends,
        );
        ticket.revision = revision;
        Ok(ticket)
    }

    /// The same for a user that the same commit creates.
    pub(super) fn bare_ticket(
        &self,
        now: Timestamp,
        purpose: TicketPurpose,
        account: &UserRecord,
        contact: Option<&ContactRecord>,
        ends: Vec<End>,
    ) -> TicketRecord {
        // Whoever has an e-mail address has it whatever becomes of the sessions.
        let bound = purpose != TicketPurpose::EmailVerification;
        TicketRecord {
            user: account.id,
            purpose,
            contact: contact.map(|contact| contact.id),
            address: contact.map(|contact| contact.value.clone()),
            new_address: None,
            ends,
            fate: Fate::Live,
            generation: bound.then_some(account.generation),
            revision: (purpose == TicketPurpose::Invitation).then_some(None),
            browser: None,
            activates: purpose == TicketPurpose::Invitation,
            created: now,
            expires: now.saturating_add(self.ticket_lives.of(purpose)),
            former: Vec::new(),
            failures: 0,
            sent: 0,
            code: None,
            assertion: None,
        }
    }

    /// Issues a token to a user whom a stranger names, if that user gets one. Either way one token is drawn and one commit
    /// is made, so that the time tells little.
    pub(super) fn request(
        &self,
        purpose: TicketPurpose,
        name: &str,
        browser: Option<[u8; 32]>,
        client: &Client,
    ) -> Result<Option<IssuedTicket>> {
        // Held up like whoever presents a token, and before anything is looked up. To ask is no failure.
        let _admission = self.admitted(client)?;
        let minted = self.mint(purpose, Side::Present)?;
        let from = client.source().map(|ip| format!(" from {ip}")).unwrap_or_default();
        let (issued, _) = self.write(Actor::Anonymous, |plan| {
            let recipient = recipient(plan.store, plan.now, name, self.names)?;
            let recipient = match recipient {
                Ok(recipient) => match failures_of(plan, purpose, &recipient)? {
                    failures if failures >= MAX_FAILURES => Err(Nobody {
                        user: Some(recipient.account.record.id),
                        reason: "too many wrong second factors came with the token before".to_owned(),
                    }),
                    failures => Ok((recipient, failures)),
                },
                Err(nobody) => Err(nobody),
            };
            let (Recipient { account, contact }, failures) = match recipient {
                Ok(found) => found,
                Err(Nobody { user, reason }) => {
                    let entry = Entry { subject: user.map(Subject::User), ..Entry::default() };
                    let entry = entry.detail(format!("{purpose} asked for{from}: {reason}"));
                    let kind = AuditKind::TicketRequestRefused;
                    plan.record_outcome(kind, Outcome::Denied, Actor::Anonymous, entry)?;
                    return Ok(None);
                }
            };
            let mut ticket = self.new_ticket(plan, purpose, &account, Some(&contact), vec![minted.end])?;
            ticket.browser = browser;
            ticket.failures = failures;
            stage(plan, &mut ticket, &format!("asked for{from}"))?;
            Ok(Some(ticket.public(Side::Present)))
        })?;
        Ok(issued.map(|ticket| minted.issued(ticket)))
    }
}

/// Stages a ticket in the place of the one before it, with its audit record.
pub(super) fn stage(plan: &mut Plan<'_>, ticket: &mut TicketRecord, how: &str) -> Result<()> {
    let mut detail = describe(ticket);
    if !how.is_empty() {
        detail = format!("{detail}, {how}");
    }
    match store::read::<TicketRecord>(plan.store, &ticket.key())? {
        Some(old) => {
            if let Some(before) = ticket.replaces(&old.record, plan.now) {
                detail = format!("{detail}; {before} is worth nothing any more");
            }
            plan.batch.replace(&old, ticket)?;
        }
        None => plan.batch.insert(ticket)?,
    }
    plan.record(AuditKind::TicketIssued, Entry::of(Subject::User(ticket.user)).detail(detail))
}

/// Wrong second factors that came with the token that is to be replaced: until its end it counts them, and so does the one
/// that takes its place.
fn failures_of(plan: &Plan<'_>, purpose: TicketPurpose, recipient: &Recipient) -> Result<u8> {
    let key = (recipient.account.record.id, (purpose as u8, 0));
    let before = store::read::<TicketRecord>(plan.store, &key)?.map(|found| found.record);
    let counts = before.filter(|before| !matches!(before.fate, Fate::Used(_)) && before.expires > plan.now);
    Ok(counts.map_or(0, |before| before.failures))
}

/// The revision of the user's password, if there is one, expected to stay.
fn expect_password(plan: &mut Plan<'_>, user: UserId) -> Result<Option<u32>> {
    let credential = store::read::<CredentialRecord>(plan.store, &user)?;
    expect_credential(plan, user, credential.as_ref());
    Ok(credential.map(|credential| credential.record.revision))
}

/// Expects the user's password, or that there is none, as it was read.
pub(super) fn expect_credential(
    plan: &mut Plan<'_>,
    user: UserId,
    credential: Option<&Stored<CredentialRecord>>,
) {
    match credential {
        Some(credential) => plan.batch.expect_unchanged(credential),
        None => plan.batch.expect(CredentialRecord::TABLE, user.bytes(), Expect::Absent),
    }
}

/// A contact of the user that is an e-mail address.
pub(super) fn email_of(store: &dyn Store, user: UserId, id: ContactId) -> Result<Stored<ContactRecord>> {
    let contact = store::read::<ContactRecord>(store, &(user, id))?
        .ok_or_else(|| Error::not_found("contact", format_args!("{id} of {user}")))?;
    if contact.record.kind != ContactKind::Email {
        return Err(Error::invalid("contact", format!("{id} of {user} is no e-mail address")));
    }
    Ok(contact)
}

/// The first of the user's e-mail addresses, of the verified ones or of all.
pub(super) fn first_email(
    store: &dyn Store,
    user: UserId,
    verified: bool,
) -> Result<Option<Stored<ContactRecord>>> {
    let (prefix, mut after) = (user.bytes(), None::<Vec<u8>>);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE, descending: false };
        let (contacts, next) = store::page::<ContactRecord>(store, &scan)?;
        let found = contacts.into_iter().find(|contact| {
            contact.record.kind == ContactKind::Email && (!verified || contact.record.verified.is_some())
        });
        match next {
            Some(next) if found.is_none() => after = Some(next),
            _ => return Ok(found),
        }
    }
}

/// Who gets a token, and where.
struct Recipient {
    account: Stored<UserRecord>,
    contact: Stored<ContactRecord>,
}

/// Why nobody gets one: the truth, for the audit log.
struct Nobody {
    user: Option<UserId>,
    reason: String,
}

/// Whom a stranger means by a login name or an e-mail address. Tokens go to verified addresses only: one that anybody could
/// have written down proves nothing.
fn recipient(
    store: &dyn Store,
    now: Timestamp,
    name: &str,
    rules: NameRules,
) -> Result<Result<Recipient, Nobody>> {
    let nobody = |user, reason: &str| Ok(Err(Nobody { user, reason: reason.to_owned() }));
    // The owner of an address before whoever has taken it for a login name.
    let contact = user::find_verified_email(store, name, rules)?;
    let account = match (&contact, text::canonical_login(name)) {
        (Some(contact), _) => store::read::<UserRecord>(store, &contact.record.user)?,
        (None, Ok(login)) => store::find(store, user::USER_BY_LOGIN, &store::index_prefix(&login))?,
        (None, Err(_)) => None,
    };
    // The name is left out of the log: people type their password into the wrong field.
    let Some(account) = account else { return nobody(None, "unknown login name or address") };
    let id = account.record.id;
    if !account.record.status.is_active_at(now) {
        return nobody(Some(id), &format!("the account is {}", status_detail(&account.record)));
    }
    if account.record.service {
        return nobody(Some(id), SERVICE_ACCOUNT);
    }
    let contact = match contact {
        Some(contact) => Some(contact),
        None => first_email(store, id, true)?,
    };
    match contact {
        Some(contact) => Ok(Ok(Recipient { account, contact })),
        None => nobody(Some(id), "the user has no verified e-mail address"),
    }
}
