//! Walks that several questions share: over the assignments of some roles, and down from a role.

use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::engine::Engine;
use crate::engine::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role::RoleRecord;
use crate::store::{self, Record, Scan};
use std::collections::BTreeMap;

/// Assignments that one page looks at before it returns what it has.
const MOST_ROWS: usize = 10_000;

impl Engine {
    /// A page of what is to be told of the assignments of these roles (in rising order), in the order of the roles. What one
    /// assignment gives is not parted, so that a page can be longer than asked for.
    pub(super) fn page_of_assignments<T>(
        &self,
        roles: &[RoleId],
        page: &PageRequest,
        mut tell: impl FnMut(&mut Vec<T>, UserId, RoleId, ScopeId) -> Result<()>,
    ) -> Result<Page<T>> {
        let limit = page.limit_checked()?;
        let mut resumed = match (page.table(), page.last_key()) {
            (Some(table), Some(key)) if table == ASSIGNMENT_BY_ROLE.number && key.len() >= 4 => {
                Some(key.to_vec())
            }
            (None, _) => None,
            _ => return Err(Error::invalid("cursor", "belongs to another listing")),
        };
        let (mut items, mut seen) = (Vec::new(), 0);
        for role in roles {
            let prefix = role.bytes();
            if resumed.as_ref().is_some_and(|key| key.get(..4).is_some_and(|at| *at > *prefix)) {
                continue;
            }
            let mut key = resumed.take().filter(|key| key.starts_with(&prefix));
            loop {
                let scan = Scan { prefix: &prefix, after: key.as_deref(), limit, descending: false };
                let rows = self.store.scan(ASSIGNMENT_BY_ROLE, &scan)?;
                for row in &rows {
                    let ((user, role), scope) = <AssignmentRecord as Record>::Key::read(&row.value)?;
                    tell(&mut items, user, role, scope)?;
                    if items.len() >= limit {
                        return Ok(Page::new(items, ASSIGNMENT_BY_ROLE, Some(row.key.clone())));
                    }
                }
                seen += rows.len();
                match rows.last() {
                    Some(last) if seen >= MOST_ROWS => {
                        return Ok(Page::new(items, ASSIGNMENT_BY_ROLE, Some(last.key.clone())));
                    }
                    Some(last) if rows.len() == limit => key = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        Ok(Page::of(items, None))
    }

    /// What is wanted of a role and of all that it inherits from, each with the shortest chain down to the role.
    pub(in crate::engine) fn chains_down<T>(
        &self,
        top: RoleId,
        mut wanted: impl FnMut(RoleId) -> Result<Option<T>>,
    ) -> Result<Vec<(T, Vec<RoleId>)>> {
        let (mut above, mut order, mut next) = (BTreeMap::from([(top, None)]), vec![top], 0);
        let mut found = Vec::new();
        while let Some(role) = order.get(next).copied() {
            next += 1;
            let Some(record) = store::read::<RoleRecord>(&*self.store, &role)? else { continue };
            for parent in record.record.parents {
                above.entry(parent).or_insert_with(|| {
                    order.push(parent);
                    Some(role)
                });
            }
            let Some(wanted) = wanted(role)? else { continue };
            let mut chain = vec![role];
            while let Some(Some(senior)) = chain.last().and_then(|last| above.get(last)) {
                chain.push(*senior);
            }
            chain.reverse();
            found.push((wanted, chain));
        }
        Ok(found)
    }
}
