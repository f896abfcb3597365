//! Who can do it, what one can do, and where.

use super::Review;
use crate::access::{ACCESS_BY_PERMISSION, AccessRecord};
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::engine::page::{Page, PageRequest};
use crate::engine::view::{Answer, Holding, Part, ViewTime};
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::scope;
use crate::store::{self, Record, Scan, Table};
use crate::user;
use std::collections::HashSet;

/// Index prefixes, and rows, that one page looks at before it returns what it has.
const MOST_SOURCES: usize = 2048;
const MOST_ROWS: usize = 10_000;

/// Where holders of a permission are listed: under a role, or under the permission itself, at one scope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    level: usize,
    scope: ScopeId,
    holding: Holding,
}

impl Source {
    fn table(&self) -> Table {
        match self.holding {
            Holding::Role(_) => ASSIGNMENT_BY_ROLE,
            Holding::Permission(_) => ACCESS_BY_PERMISSION,
        }
    }

    fn prefix(&self) -> Vec<u8> {
        match self.holding {
            Holding::Role(role) => (role, self.scope).bytes(),
            Holding::Permission(permission) => (permission, self.scope).bytes(),
        }
    }
}

/// What gives a permission.
struct Giving {
    roles: HashSet<RoleId>,
    permission: Permission,
}

impl Giving {
    fn gives(&self, part: &Part, now: ViewTime) -> bool {
        !part.denies
            && part.holds_at(now)
            && match part.holding {
                Holding::Role(role) => self.roles.contains(&role),
                Holding::Permission(permission) => permission == self.permission,
            }
    }
}

impl Review<'_> {
    /// The users who may do this at a scope now: through roles and without, from what is held there and above it, but
    /// for those whom a denial stops or who may not log in. Each user once, in an order that stays the same.
    ///
    /// A page can be shorter than asked for, and even empty, and still have a next one. A permission that is not defined is
    /// held by nobody.
    ///
    /// # Errors
    /// `NotFound` for a scope that does not exist; `InvalidInput` for a wrong page; the storage kinds.
    pub fn who_can(
        &self,
        permission: Permission,
        scope: ScopeId,
        page: &PageRequest,
    ) -> Result<Page<UserId>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.seconds());
        let levels = scope::levels(store, scope)?;
        let roles = engine.view.roles_giving(permission);
        let giving = Giving { roles: roles.iter().copied().collect(), permission };
        let place = resume(page, &levels, permission)?;
        let mut sources: Vec<Source> = Vec::new();
        for (level, scope) in levels.iter().copied().enumerate() {
            sources.extend(roles.iter().map(|role| Source { level, scope, holding: Holding::Role(*role) }));
            sources.push(Source { level, scope, holding: Holding::Permission(permission) });
        }
        let mut after = place.as_ref().map(|(_, key)| key.clone());
        let first = place.map_or(0, |(source, _)| sources.partition_point(|other| *other < source));
        let (mut items, limit) = (Vec::new(), page.limit_checked()?);
        let mut seen = 0;
        for (nth, source) in sources.iter().enumerate().skip(first) {
            let prefix = source.prefix();
            // A role that gives it no longer: the listing goes on with what comes after it.
            let mut key = after.take().filter(|key| key.starts_with(&prefix));
            loop {
                let scan = Scan { prefix: &prefix, after: key.as_deref(), limit, descending: false };
                let rows = store.scan(source.table(), &scan)?;
                for row in &rows {
                    let user = user_in(source.holding, &row.value)?;
                    if engine.view.check_user_at(user, permission, scope, now) == Answer::Allow
                        && self.first_source(user, scope, &giving, now)
                            == Some((source.level, source.holding))
                    {
                        items.push(user);
                        if items.len() == limit {
                            return Ok(Page::of(items, Some(cursor(source, &row.key))));
                        }
                    }
                }
                seen += rows.len();
                match rows.last() {
                    Some(last) if seen >= MOST_ROWS => {
                        return Ok(Page::of(items, Some(cursor(source, &last.key))));
                    }
                    Some(last) if rows.len() == limit => key = Some(last.key.clone()),
                    _ => break,
                }
            }
            if nth - first == MOST_SOURCES
                && let Some(following) = sources.get(nth + 1)
            {
                return Ok(Page::of(items, Some(cursor(following, &following.prefix()))));
            }
        }
        Ok(Page::of(items, None))
    }

    /// Which of a user's holdings is the first, in the order of the listing, that gives it.
    fn first_source(
        &self,
        user: UserId,
        scope: ScopeId,
        giving: &Giving,
        now: ViewTime,
    ) -> Option<(usize, Holding)> {
        let levels = self.gate.engine().view.levels_of(user, scope)?;
        (0..).zip(&levels).find_map(|(level, (_, parts))| {
            Some((level, parts.iter().find(|part| giving.gives(part, now))?.holding))
        })
    }

    /// All that a user may do at a scope now, through roles and without; whatever the user's status.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn what_can(&self, user: UserId, scope: ScopeId) -> Result<PermissionSet> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, user)?;
        scope::levels(&*engine.store, scope)?;
        Ok(engine.view.permissions_at(user, scope, engine.seconds()))
    }

    /// The scopes at which a user was given this and may do it now; it then holds in all that lies below, too, but for
    /// what a denial further down takes away. [`ScopeId::ROOT`] means everywhere. Each scope once.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn where_can(
        &self,
        user: UserId,
        permission: Permission,
        page: &PageRequest,
    ) -> Result<Page<ScopeId>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.seconds());
        user::read_user(store, user)?;
        let roles = engine.view.roles_giving(permission).into_iter().collect();
        let giving = Giving { roles, permission };
        let prefix = user.bytes();
        let direct = page.table() == Some(AccessRecord::TABLE.number);
        let (found, next): (Vec<(Holding, ScopeId)>, _) = if direct {
            let scan = page.scan(AccessRecord::TABLE, &prefix)?;
            let (rows, next) = store::page::<AccessRecord>(store, &scan)?;
            let held = |row: AccessRecord| (Holding::Permission(row.permission), row.terms.scope);
            (rows.into_iter().map(|row| held(row.record)).collect(), next)
        } else {
            let scan = page.scan(AssignmentRecord::TABLE, &prefix)?;
            let (rows, next) = store::page::<AssignmentRecord>(store, &scan)?;
            let held = |row: AssignmentRecord| (Holding::Role(row.role), row.terms.scope);
            (rows.into_iter().map(|row| held(row.record)).collect(), next)
        };
        let mut items = Vec::new();
        for (holding, scope) in found {
            let first = engine.view.levels_of(user, scope).and_then(|levels| {
                let parts = &levels.first()?.1;
                parts.iter().find(|part| giving.gives(part, now)).map(|part| part.holding)
            });
            if first == Some(holding)
                && engine.view.check_user_at(user, permission, scope, now) == Answer::Allow
            {
                items.push(scope);
            }
        }
        let table = if direct { AccessRecord::TABLE } else { AssignmentRecord::TABLE };
        match next {
            // After the roles, what was given without one.
            None if !direct => Ok(Page::new(items, AccessRecord::TABLE, Some(prefix))),
            next => Ok(Page::new(items, table, next)),
        }
    }
}

/// The user in the primary key that an index row leads to.
fn user_in(holding: Holding, key: &[u8]) -> Result<UserId> {
    match holding {
        Holding::Role(_) => <AssignmentRecord as Record>::Key::read(key).map(|((user, _), _)| user),
        Holding::Permission(_) => <AccessRecord as Record>::Key::read(key).map(|((user, _), _)| user),
    }
}

/// The table of the source, its level, and the last index key.
fn cursor(source: &Source, key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![source.table().number, u8::try_from(source.level).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(key);
    bytes
}

fn resume(
    page: &PageRequest,
    levels: &[ScopeId],
    permission: Permission,
) -> Result<Option<(Source, Vec<u8>)>> {
    let foreign = || Error::invalid("cursor", "belongs to another listing");
    let (Some(table), Some(rest)) = (page.table(), page.last_key()) else { return Ok(None) };
    let (level, key) = rest.split_first().ok_or_else(foreign)?;
    let (level, scope) = levels
        .iter()
        .enumerate()
        .nth(usize::from(*level))
        .map(|(n, scope)| (n, *scope))
        .ok_or_else(foreign)?;
    let head: (u32, ScopeId) = key.get(..8).ok_or_else(foreign).and_then(Key::read)?;
    let holding = match table {
        table if table == ASSIGNMENT_BY_ROLE.number => Holding::Role(RoleId::from_number(head.0)),
        table if table == ACCESS_BY_PERMISSION.number && head.0 == permission.bit() => {
            Holding::Permission(permission)
        }
        _ => return Err(foreign()),
    };
    if head.1 != scope {
        return Err(foreign());
    }
    Ok(Some((Source { level, scope, holding }, key.to_vec())))
}
