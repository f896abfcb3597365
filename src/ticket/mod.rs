//! Tickets: what a one-time token is good for, for whom, and until when. The token itself is never stored.

mod lives;
mod record;

pub use lives::TicketLives;
pub(crate) use record::{
    End, Fate, MAX_FAILURES, Match, ResetCode, Side, TABLES, TICKET_BY_EXPIRY, TicketRecord, find,
    find_by_number,
};

use crate::clock::Timestamp;
use crate::crypto::Purpose;
use crate::id::{ContactId, TicketId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a one-time token is for. A token of one purpose is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[repr(u8)]
pub enum TicketPurpose {
    /// Proves that a user holds an e-mail address.
    EmailVerification,
    /// Sets another password.
    PasswordReset,
    /// Sets the first password of an invited user, and activates the account.
    Invitation,
    /// Logs in, as one factor.
    MagicLink,
    /// Puts a new e-mail address in the place of another one, once both have confirmed it.
    EmailChange,
}

impl TicketPurpose {
    /// Every purpose, in the order of its stored number.
    pub const ALL: [Self; 5] =
        [Self::EmailVerification, Self::PasswordReset, Self::Invitation, Self::MagicLink, Self::EmailChange];

    /// The stable name, such as `password reset`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmailVerification => "e-mail verification",
            Self::PasswordReset => "password reset",
            Self::Invitation => "invitation",
            Self::MagicLink => "magic link",
            Self::EmailChange => "e-mail change",
        }
    }

    /// What the tokens of this purpose begin with: that of the contact as it is, and for a change that of the new address.
    pub(crate) const fn of_token(self, side: Side) -> Purpose {
        match (self, side) {
            (Self::EmailVerification, _) => Purpose::EmailVerification,
            (Self::PasswordReset, _) => Purpose::PasswordReset,
            (Self::Invitation, _) => Purpose::Invitation,
            (Self::MagicLink, _) => Purpose::MagicLink,
            (Self::EmailChange, Side::Present) => Purpose::OldAddress,
            (Self::EmailChange, Side::New) => Purpose::NewAddress,
        }
    }
}

impl fmt::Display for TicketPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A one-time token that was issued, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// Safe to show and to log.
    pub id: TicketId,
    /// What it is for.
    pub purpose: TicketPurpose,
    /// Whose it is.
    pub user: UserId,
    /// The contact that it is bound to: when that is changed or removed, it is worth nothing.
    pub contact: Option<ContactId>,
    /// The address that it was issued for; `None` where it is handed over in another way.
    pub address: Option<String>,
    /// The address that is to take the other one's place, for an e-mail change.
    pub new_address: Option<String>,
    /// Whether it is good in the browser that asked for it only.
    pub bound_to_browser: bool,
    /// When it was issued.
    pub created: Timestamp,
    /// The instant from which it is worth nothing.
    pub expires: Timestamp,
}
