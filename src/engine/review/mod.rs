//! Questions the other way round: who can, what can, where, why, and what if.

mod authorized;
mod explain;
mod objects;
mod unused;
mod walk;
mod what_if;
mod who;

pub(super) use explain::tells;
pub use explain::{Explanation, Finding, Link, Standing};
pub use objects::ObjectOperation;
pub(super) use objects::page_of_object;
pub use unused::UnusedRole;
pub use what_if::{Impact, WhatIf};

use super::Portcullis;

/// Answers questions about who may do what, from the stored records and their indexes, a page at a time; get it from
/// [`Portcullis::review`]. Nothing is written.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Grant, NewUser, PageRequest, Portcullis, ScopeId, WhatIf};
/// let gate = Portcullis::in_memory()?;
/// let read = gate.permissions().define("doc:read")?;
/// let viewer = gate.roles().create("viewer", [read])?;
/// let acme = gate.scopes().ensure("acme")?;
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
/// gate.roles().assign_with(ada, viewer, &Grant::new().at(acme))?;
///
/// let page = PageRequest::default();
/// assert_eq!(gate.review().who_can(read, acme, &page)?.items, [ada]);
/// assert_eq!(gate.review().where_can(ada, read, &page)?.items, [acme]);
/// let lost = gate.review().what_if(&WhatIf::Delete(viewer), &page)?;
/// assert_eq!((lost.items[0].user, lost.items[0].scope), (ada, acme));
/// assert!(gate.review().explain(ada, read, ScopeId::ROOT)?.to_string().contains("denied"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Review<'g> {
    pub(super) gate: &'g Portcullis,
}
