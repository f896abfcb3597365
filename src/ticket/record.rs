//! How tickets are stored: one row for each user, purpose and contact, so that a newer token takes the place of the one
//! before it in one commit, and what a stranger asks for ever again stays one row.

use super::{Ticket, TicketPurpose};
use crate::clock::Timestamp;
use crate::crypto::{Digest, Presented};
use crate::error::Result;
use crate::id::{ContactId, FactorId, Key, TicketId, UserId};
use crate::store::{self, Index, Record, Store, Stored, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const TICKET: Table = Table::new(93, "ticket");
pub(crate) const TICKET_BY_NUMBER: Table = Table::new(94, "ticket_by_number");
pub(crate) const TICKET_BY_EXPIRY: Table = Table::new(95, "ticket_by_expiry");
pub(crate) const TABLES: &[Table] = &[TICKET, TICKET_BY_NUMBER, TICKET_BY_EXPIRY];

/// Tokens that are over and that a row still knows, so that the audit log can tell why they are refused.
const MAX_FORMER: usize = 4;
/// Wrong second factors after which a token is worth nothing.
pub(crate) const MAX_FAILURES: u8 = 5;

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Nothing yet.
    Live,
    Used(Timestamp),
    /// A newer one took its place.
    Replaced,
    Revoked,
    Expired,
    /// The present address refused to be replaced.
    Refused,
    /// Too many wrong second factors came with it.
    Failed,
}

/// Which of the two tokens of an e-mail change; all others have one, that of the contact as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    Present,
    New,
}

/// One token: the number that finds it, and the digest that it must have.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) side: Side,
    pub(crate) number: u64,
    pub(crate) digest: [u8; 32],
    /// When an e-mail change was confirmed by it.
    pub(crate) confirmed: Option<Timestamp>,
}

/// A code that was sent to the user to accompany a reset, and no other one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResetCode {
    pub(crate) factor: FactorId,
    /// A code has too few bits for a plain hash, so it is kept as a password is.
    pub(crate) phc: String,
    pub(crate) expires: Timestamp,
}

/// A token that is over.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Former {
    pub(crate) number: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) fate: Fate,
    pub(crate) bound: bool,
}

/// The newest token of a user for a purpose, or for a purpose and a contact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketRecord {
    pub(crate) user: UserId,
    pub(crate) purpose: TicketPurpose,
    pub(crate) contact: Option<ContactId>,
    /// The contact's address when this was issued.
    pub(crate) address: Option<String>,
    pub(crate) new_address: Option<String>,
    /// One, or the two of an e-mail change.
    pub(crate) ends: Vec<End>,
    pub(crate) fate: Fate,
    /// The user's generation when this was issued, where whatever ends all sessions ends this.
    pub(crate) generation: Option<u32>,
    /// For what sets a password: the revision of the one that was there, if there was one.
    pub(crate) revision: Option<Option<u32>>,
    /// The digest of what the browser must present that asked for this.
    pub(crate) browser: Option<[u8; 32]>,
    /// Whether it makes a pending account active.
    pub(crate) activates: bool,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) former: Vec<Former>,
    /// Wrong second factors so far; a newer token does not take them away (NIST SP 800-63B-4, section 3.1.3.2).
    pub(crate) failures: u8,
    pub(crate) sent: u8,
    pub(crate) code: Option<ResetCode>,
    /// What a passkey was asked for last, to accompany a reset.
    pub(crate) assertion: Option<Vec<u8>>,
}

impl fmt::Debug for TicketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketRecord")
            .field("user", &self.user)
            .field("purpose", &self.purpose)
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}

impl Record for TicketRecord {
    const TABLE: Table = TICKET;
    const INDEXES: &'static [Index<Self>] = &[
        Index::unique(TICKET_BY_NUMBER, |ticket, keys| {
            ticket.ends.iter().for_each(|end| keys.add(&end.number));
            ticket.former.iter().for_each(|former| keys.add(&former.number));
        }),
        Index::many(TICKET_BY_EXPIRY, |ticket, keys| keys.add(&ticket.expires.as_millis())),
    ];
    type Key = (UserId, (u8, u32));

    fn key(&self) -> Self::Key {
        // Several addresses can be verified or changed at a time; of the others the newest one is the only one.
        let slot = match (self.purpose, self.contact) {
            (TicketPurpose::EmailVerification | TicketPurpose::EmailChange, Some(contact)) => contact.get(),
            _ => 0,
        };
        (self.user, (self.purpose as u8, slot))
    }
}

impl TicketRecord {
    /// What the row is called: the number of its first token.
    pub(crate) fn id(&self) -> TicketId {
        TicketId::from_number(self.ends.first().map_or(0, |end| end.number))
    }

    /// What became of it by that instant.
    pub(crate) fn fate_at(&self, now: Timestamp) -> Fate {
        match self.fate {
            Fate::Live if self.expires <= now => Fate::Expired,
            fate => fate,
        }
    }

    /// Takes over, from the row that this one takes the place of, what is known of tokens that are over. Returns the number
    /// of the one that was live until now.
    pub(crate) fn replaces(&mut self, old: &Self, now: Timestamp) -> Option<TicketId> {
        let (fate, bound) = (old.fate_at(now), old.browser.is_some());
        let over = if fate == Fate::Live { Fate::Replaced } else { fate };
        let ends = old.ends.iter().map(|end| Former {
            number: end.number,
            digest: end.digest,
            fate: end.confirmed.map_or(over, Fate::Used),
            bound,
        });
        self.former = ends.chain(old.former.iter().copied()).take(MAX_FORMER).collect();
        (fate == Fate::Live).then(|| old.id())
    }

    /// What may be shown of it, as one of its sides sees it.
    pub(crate) fn public(&self, side: Side) -> Ticket {
        let address = if side == Side::New { &self.new_address } else { &self.address };
        let number = self.ends.iter().find(|end| end.side == side).map(|end| end.number);
        Ticket {
            id: number.map_or_else(|| self.id(), TicketId::from_number),
            purpose: self.purpose,
            user: self.user,
            contact: self.contact,
            address: address.clone(),
            new_address: self.new_address.clone(),
            bound_to_browser: self.browser.is_some(),
            created: self.created,
            expires: self.expires,
        }
    }
}

/// What a number leads to.
pub(crate) struct Match {
    pub(crate) stored: Stored<TicketRecord>,
    /// The side of the token, and what became of it so far as its row knows.
    pub(crate) side: Side,
    pub(crate) fate: Fate,
    /// Whether an e-mail change was confirmed by it, and the other one is still waited for.
    pub(crate) confirmed: bool,
    /// Whether it is good in one browser only.
    pub(crate) bound: bool,
}

impl Match {
    /// The row's own token, whoever presents it.
    pub(crate) fn newest(stored: Stored<TicketRecord>, now: Timestamp) -> Self {
        let (fate, bound) = (stored.record.fate_at(now), stored.record.browser.is_some());
        Self { stored, side: Side::Present, fate, confirmed: false, bound }
    }

    /// The token's row as read, if the presented token is the very one that it was issued as. One of another purpose has
    /// another digest.
    fn of(stored: Stored<TicketRecord>, presented: &Presented, now: Timestamp) -> Option<Self> {
        let (number, digest) = (presented.number(), presented.digest());
        let same = |other: u64, its: [u8; 32]| other == number && Digest(its) == digest;
        let record = &stored.record;
        let found = match record.ends.iter().find(|end| same(end.number, end.digest)) {
            Some(end) => (end.side, record.fate_at(now), end.confirmed.is_some(), record.browser.is_some()),
            None => {
                let former = record.former.iter().find(|former| same(former.number, former.digest))?;
                (Side::Present, former.fate, false, former.bound)
            }
        };
        let (side, fate, confirmed, bound) = found;
        Some(Self { stored, side, fate, confirmed, bound })
    }
}

/// The ticket of a token, whatever became of it; `None` for what never was one of that purpose, or is forgotten.
pub(crate) fn find(store: &dyn Store, presented: &Presented, now: Timestamp) -> Result<Option<Match>> {
    let found = find_by_number(store, presented.number())?;
    Ok(found.and_then(|stored| Match::of(stored, presented, now)))
}

/// The ticket that has, or had, a token of that number.
pub(crate) fn find_by_number(store: &dyn Store, number: u64) -> Result<Option<Stored<TicketRecord>>> {
    store::find(store, TICKET_BY_NUMBER, &number.bytes())
}
