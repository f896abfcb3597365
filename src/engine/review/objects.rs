//! What a role or a user may do with an object.

use super::Review;
use crate::catalog::{self, PERMISSION_BY_NAME};
use crate::engine::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::id::{RoleId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::store::{Scan, Store};

/// One operation on an object, and the permission that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectOperation {
    /// What stands behind the last colon of the permission's name: `read` of `report:read`.
    pub operation: String,
    /// What to check with.
    pub permission: Permission,
}

impl Review<'_> {
    /// The operations on an object that a role gives, with what it inherits and less what it denies, by name
    /// (RoleOperationsOnObject of ANSI INCITS 359 with a role hierarchy).
    ///
    /// The last colon of a permission's name parts the object from the operation: `report:read` is the operation `read`
    /// on `report`, and `report:draft:read` is `read` on `report:draft`. A name without a colon is of no object.
    ///
    /// A page can be shorter than asked for, and even empty, and still have a next one. It costs one look-up for each
    /// object whose name begins with this one's and a colon.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist, and for an object that no permission is on, with the field `object`;
    /// `InvalidInput` for a wrong page and what can not be in a name; the storage kinds.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{PageRequest, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let [read, _write] = [gate.permissions().define("report:read")?, gate.permissions().define("report:write")?];
    /// let viewer = gate.roles().create("viewer", [read])?;
    /// let may = gate.review().role_operations_on(viewer, "report", &PageRequest::default())?;
    /// assert_eq!((may.items.len(), may.items[0].operation.as_str(), may.items[0].permission), (1, "read", read));
    /// # Ok(())
    /// # }
    /// ```
    pub fn role_operations_on(
        &self,
        role: RoleId,
        object: &str,
        page: &PageRequest,
    ) -> Result<Page<ObjectOperation>> {
        self.operations_on(object, &self.gate.roles().effective(role)?, page)
    }

    /// The operations on an object that a user may do at a scope now, through roles and without, by name
    /// (UserOperationsOnObject of ANSI INCITS 359 with a role hierarchy); [`ScopeId::ROOT`] for what the user may do
    /// everywhere. As [`what_can`](Self::what_can), it does not look at the user's status.
    ///
    /// What is said of [`role_operations_on`](Self::role_operations_on) holds here too.
    ///
    /// # Errors
    /// `NotFound` for a user or scope that does not exist, and for an object that no permission is on, with the field
    /// `object`; `InvalidInput` for a wrong page and what can not be in a name; the storage kinds.
    pub fn user_operations_on(
        &self,
        user: UserId,
        object: &str,
        scope: ScopeId,
        page: &PageRequest,
    ) -> Result<Page<ObjectOperation>> {
        self.operations_on(object, &self.what_can(user, scope)?, page)
    }

    fn operations_on(
        &self,
        object: &str,
        may: &PermissionSet,
        page: &PageRequest,
    ) -> Result<Page<ObjectOperation>> {
        page_of_object(&*self.gate.engine().store, object, page, |permission| may.contains(permission)).map(
            |page| page.filter_map(|(operation, permission)| Some(ObjectOperation { operation, permission })),
        )
    }
}

/// Operations on an object by name, those whose permission is wanted. That the object is there is asked for a first page
/// only: a listing that has begun goes on.
pub(in crate::engine) fn page_of_object(
    store: &dyn Store,
    object: &str,
    page: &PageRequest,
    wanted: impl Fn(Permission) -> bool,
) -> Result<Page<(String, Permission)>> {
    let prefix = catalog::object_prefix(object)?;
    let scan: Scan<'_> = page.scan(PERMISSION_BY_NAME, &prefix)?;
    if scan.after.is_none() && !catalog::is_object(store, &prefix)? {
        return Err(Error::not_found("object", format_args!("a permission on the object {object:?}")));
    }
    let (found, next) = catalog::operations_of(store, &scan, wanted)?;
    Ok(Page::new(found, PERMISSION_BY_NAME, next))
}
