//! Ways to reach a user.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{ContactId, UserId};
use crate::text;
use serde::{Deserialize, Serialize};

/// What sort of contact detail it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ContactKind {
    /// An e-mail address; the user can be found by it, and once it is verified logs in by it.
    Email,
    /// A telephone number, as it was given.
    Phone,
    /// A postal address in one line.
    Postal,
    /// Anything else; the label says what.
    Other,
}

/// A contact detail of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// Whose it is.
    pub user: UserId,
    /// Names it among the user's contacts; never reused.
    pub id: ContactId,
    /// What sort it is.
    pub kind: ContactKind,
    /// Such as "work"; may be empty.
    pub label: String,
    /// The address or number itself, as it was given.
    pub value: String,
    /// When the user proved to hold it, if so.
    pub verified: Option<Timestamp>,
}

/// A contact detail to be added.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewContact {
    pub(crate) kind: ContactKind,
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) verified: bool,
}

impl NewContact {
    /// An e-mail address, at most 254 bytes, of the syntax of RFC 5321 and RFC 6531 without quoted local parts, address
    /// literals and encoded words.
    pub fn email(address: impl Into<String>) -> Self {
        Self::of(ContactKind::Email, address)
    }

    /// A telephone number, at most 512 bytes like every other value.
    pub fn phone(number: impl Into<String>) -> Self {
        Self::of(ContactKind::Phone, number)
    }

    /// A contact of any kind.
    pub fn of(kind: ContactKind, value: impl Into<String>) -> Self {
        Self { kind, label: String::new(), value: value.into(), verified: false }
    }

    /// Says which of several it is, such as "work"; at most 128 bytes.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Is verified from the start: the application has seen the user prove to hold it. By a verified e-mail address a user
    /// logs in, and it belongs to one user only.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewContact, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let address = NewContact::email("Ada@Example.org").verified();
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple").contact(address))?;
    /// gate.login(&Credentials::password("ada@example.org", "correct horse battery staple"), &Client::new())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn verified(mut self) -> Self {
        self.verified = true;
        self
    }

    /// Checks the rules and returns the form by which an e-mail address is found.
    pub(crate) fn check(&self) -> Result<Option<String>> {
        text::plain("contact.label", &self.label, text::MAX_NAME)?;
        match self.kind {
            ContactKind::Email => text::email(&self.value).map(|email| Some(email.found)),
            _ => {
                text::plain("contact.value", &self.value, text::MAX_TEXT)?;
                if self.value.is_empty() {
                    return Err(crate::error::Error::invalid("contact.value", "is empty"));
                }
                Ok(None)
            }
        }
    }
}
