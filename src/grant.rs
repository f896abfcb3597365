//! The terms under which a role or a permission is given: where, from when, until when, and whether it is a denial.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::ScopeId;
use crate::text;
use serde::{Deserialize, Serialize};

/// Whether an assignment gives or forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Effect {
    /// It gives what is assigned.
    #[default]
    Allow,
    /// It forbids what is assigned, whatever else gives it, at its scope and below.
    Deny,
}

/// The terms of an assignment or of a direct grant; the default is for ever, everywhere.
///
/// Bounds count in whole seconds: a beginning is rounded up and an end down, so that nothing lasts longer than it was
/// given for. At the second of the end it is over, without anybody having to do anything.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Grant, NewUser, PageRequest, Portcullis, ScopeId};
/// let gate = Portcullis::in_memory()?;
/// let read = gate.permissions().define("doc:read")?;
/// let viewer = gate.roles().create("viewer", [read])?;
/// let acme = gate.scopes().create(ScopeId::ROOT, "acme")?;
/// let doc = gate.scopes().create(acme, "doc:7")?;
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
/// gate.roles().assign_with(ada, viewer, &Grant::new().at(acme))?;
/// assert!(gate.check_at(ada, read, doc)?.is_allowed());
/// assert!(!gate.check(ada, read)?.is_allowed()); // not everywhere
/// let held = gate.roles().of_user(ada, &PageRequest::default())?.items;
/// assert_eq!((held[0].terms.scope(), held[0].terms.ends()), (acme, None));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[must_use]
pub struct Grant {
    pub(crate) scope: ScopeId,
    pub(crate) effect: Effect,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) break_glass: bool,
    pub(crate) reason: String,
}

impl Grant {
    /// For ever, everywhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// An emergency grant: it has a reason and an end, and the audit log marks it.
    pub fn break_glass(reason: impl Into<String>, until: Timestamp) -> Self {
        Self { break_glass: true, reason: reason.into(), until: Some(until), ..Self::default() }
    }

    /// Holds at this scope and below it only.
    pub fn at(mut self, scope: ScopeId) -> Self {
        self.scope = scope;
        self
    }

    /// Begins at this instant.
    pub fn not_before(mut self, instant: Timestamp) -> Self {
        self.from = Some(instant);
        self
    }

    /// Is over from this instant on.
    pub fn until(mut self, instant: Timestamp) -> Self {
        self.until = Some(instant);
        self
    }

    /// Forbids instead of giving.
    pub fn denying(mut self) -> Self {
        self.effect = Effect::Deny;
        self
    }

    /// Why, for people; at most 512 bytes.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Where it holds: there and below.
    #[must_use]
    pub const fn scope(&self) -> ScopeId {
        self.scope
    }

    /// Whether it gives or forbids.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// When it begins, where it does not hold from the start.
    #[must_use]
    pub const fn begins(&self) -> Option<Timestamp> {
        self.from
    }

    /// When it is over, where it has an end.
    #[must_use]
    pub const fn ends(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether it was given in an emergency.
    #[must_use]
    pub const fn is_break_glass(&self) -> bool {
        self.break_glass
    }

    /// Why it was given; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Checks the terms and brings the bounds to whole seconds.
    pub(crate) fn checked(mut self, now: Timestamp) -> Result<Self> {
        text::plain("grant.reason", &self.reason, text::MAX_TEXT)?;
        self.from = self
            .from
            .map(|from| Timestamp::from_millis(from.as_millis().div_ceil(1000).saturating_mul(1000)));
        self.until = self.until.map(|until| Timestamp::from_millis(until.as_secs().saturating_mul(1000)));
        if let Some(until) = self.until {
            if until <= now {
                return Err(Error::invalid("grant.until", format!("{until} is over already; it is {now}")));
            }
            if let Some(from) = self.from
                && from >= until
            {
                return Err(Error::invalid("grant.from", format!("{from} is not before the end, {until}")));
            }
        }
        if self.break_glass {
            if self.reason.trim().is_empty() {
                return Err(Error::invalid("grant.reason", "is empty; an emergency grant needs a reason"));
            }
            if self.effect == Effect::Deny {
                return Err(Error::invalid(
                    "grant",
                    "is an emergency grant that denies; make a plain denial",
                ));
            }
            if self.until.is_none() {
                return Err(Error::invalid("grant.until", "is not given; an emergency grant has an end"));
            }
        }
        Ok(self)
    }

    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(crate) fn holds_at(&self, now: Timestamp) -> bool {
        !self.has_ended(now) && self.from.is_none_or(|from| from <= now)
    }

    /// For the audit log.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        let mut add = |part: String| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&part);
        };
        if self.effect == Effect::Deny {
            add("deny".to_owned());
        }
        if self.scope != ScopeId::ROOT {
            add(format!("at {}", self.scope));
        }
        if let Some(from) = self.from {
            add(format!("from {from}"));
        }
        if let Some(until) = self.until {
            add(format!("until {until}"));
        }
        if !self.reason.is_empty() {
            add(format!("because {}", self.reason));
        }
        text
    }
}
