//! Stages changes to roles.

use super::record::{
    CHUNK_BITS, CHUNK_WORDS, Chunk, HIERARCHY, HierarchyRecord, ROLE, ROLE_BY_NAME, ROLE_BY_PARENT,
    ROLE_DEMANDING, ROLE_PRIVILEGED, RoleRecord, name_key,
};
use super::{MAX_PARENTS, RoleChange};
use crate::assurance::Assurance;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Key, RoleId, ScopeId, Stamp};
use crate::permission::{Permission, PermissionSet};
use crate::store::{self, Batch, Expect, Scan, Store, Stored};
use crate::text;
use std::collections::{BTreeMap, BTreeSet};

/// The role's row, or that there is no such role.
pub(crate) fn read_role(store: &dyn Store, id: RoleId) -> Result<Stored<RoleRecord>> {
    store::read(store, &id)?.ok_or_else(|| Error::not_found("role", id))
}

fn check_name_free(store: &dyn Store, scope: ScopeId, name: &str) -> Result<()> {
    text::name("role.name", name)?;
    match store.get(ROLE_BY_NAME, &name_key(scope, name))? {
        Some(_) => Err(Error::exists("role.name", format!("there is a role \"{name}\" already"))),
        None => Ok(()),
    }
}

/// What a role begins with.
pub(crate) struct New<'a> {
    pub(crate) id: RoleId,
    pub(crate) scope: ScopeId,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    /// That they exist, and that the hierarchy changes, is for the caller to stage.
    pub(crate) parents: Vec<RoleId>,
}

/// Stages a role with no permissions.
pub(crate) fn stage_create(store: &dyn Store, batch: &mut Batch, new: New<'_>, now: Timestamp) -> Result<()> {
    let New { id, scope, name, description, parents } = new;
    check_name_free(store, scope, name)?;
    text::plain("role.description", description, text::MAX_TEXT)?;
    batch.insert(&RoleRecord {
        id,
        scope,
        name: name.to_owned(),
        description: description.to_owned(),
        parents,
        privileged: false,
        protected: false,
        assurance: Assurance::One,
        created: now,
        updated: now,
    })
}

/// Stages another name or description.
pub(crate) fn stage_change(
    store: &dyn Store,
    batch: &mut Batch,
    id: RoleId,
    change: &RoleChange,
    now: Timestamp,
) -> Result<RoleRecord> {
    let old = read_role(store, id)?;
    if let Some(stamp) = change.expect
        && stamp != old.version.into()
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{id} has changed since it was read ({} now, {stamp} expected); read it again",
                Stamp::from(old.version)
            ),
        )
        .with_field("stamp"));
    }
    let mut new = RoleRecord { updated: now, ..old.record.clone() };
    if let Some(name) = &change.name {
        if *name != old.record.name {
            check_name_free(store, old.record.scope, name)?;
        }
        new.name.clone_from(name);
    }
    if let Some(description) = &change.description {
        text::plain("role.description", description, text::MAX_TEXT)?;
        new.description.clone_from(description);
    }
    new.privileged = change.privileged.unwrap_or(new.privileged);
    new.protected = change.protected.unwrap_or(new.protected);
    new.assurance = change.assurance.unwrap_or(new.assurance);
    if new.privileged != old.record.privileged || new.assurance != old.record.assurance {
        // Heirs share both marks, so that whoever expects the hierarchy unchanged expects the marks on it unchanged.
        stage_hierarchy_edit(store, batch)?;
    }
    batch.replace(&old, &new)?;
    Ok(new)
}

/// Stages the role's own row away. Its grants and assignments mean nothing without it, since its number is never
/// used again; they are swept afterwards.
pub(crate) fn stage_delete(store: &dyn Store, batch: &mut Batch, id: RoleId) -> Result<RoleRecord> {
    let old = read_role(store, id)?;
    batch.remove(&old);
    stage_hierarchy_edit(store, batch)?;
    Ok(old.record)
}

/// Stages permissions that the role grants or denies from now on, or no longer. Returns those that really change. That the role exists, or is
/// created in the same batch, is for the caller to see to.
pub(crate) fn stage_bits<const DENY: bool>(
    store: &dyn Store,
    batch: &mut Batch,
    role: RoleId,
    permissions: &[Permission],
    add: bool,
) -> Result<PermissionSet> {
    let mut by_chunk: BTreeMap<u32, BTreeSet<Permission>> = BTreeMap::new();
    for permission in permissions {
        if permission.bit() >= Permission::LIMIT {
            // Nobody can have it, so there is nothing to take away.
            if !add {
                continue;
            }
            return Err(Error::not_found("permission", permission));
        }
        by_chunk.entry(permission.bit() / CHUNK_BITS).or_default().insert(*permission);
    }
    let mut changed = PermissionSet::new();
    for (chunk, permissions) in by_chunk {
        let old = store::read::<Chunk<DENY>>(store, &(role, chunk))?;
        let words = old.as_ref().map(|old| old.record.words.clone()).unwrap_or_default();
        let mut set = PermissionSet::from_words(words);
        for permission in permissions {
            let within = Permission::from_bit(permission.bit() % CHUNK_BITS);
            if if add { set.insert(within) } else { set.remove(within) } {
                changed.insert(permission);
            }
        }
        let new = Chunk::<DENY> { role, chunk, words: set.words().to_vec() };
        match old {
            Some(old) if old.record == new => {}
            Some(old) if new.words.is_empty() => batch.remove(&old),
            Some(old) => batch.replace(&old, &new)?,
            None if new.words.is_empty() => {}
            None => batch.insert(&new)?,
        }
    }
    Ok(changed)
}

/// The permissions that the role itself grants, or denies.
pub(crate) fn bits_of<const DENY: bool>(store: &dyn Store, role: RoleId) -> Result<PermissionSet> {
    let mut words = Vec::new();
    let prefix = role.bytes();
    let scan = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
    for chunk in store::page::<Chunk<DENY>>(store, &scan)?.0 {
        let start = chunk.record.chunk as usize * CHUNK_WORDS;
        words.resize(start, 0);
        words.extend_from_slice(&chunk.record.words);
    }
    Ok(PermissionSet::from_words(words))
}

/// Stages an inheritance edge, or its removal. Refuses an edge that closes a cycle.
pub(crate) fn stage_parent(
    store: &dyn Store,
    batch: &mut Batch,
    role: RoleId,
    parent: RoleId,
    add: bool,
    now: Timestamp,
) -> Result<RoleRecord> {
    // First, so that every role read below is from after this reading: the commit refuses if an edge changed since.
    let limited = stage_hierarchy_edit(store, batch)?;
    let old = read_role(store, role)?;
    let mut new = RoleRecord { updated: now, ..old.record.clone() };
    let place = new.parents.binary_search(&parent);
    match (add, place) {
        (true, Ok(_)) => {
            return Err(Error::exists("parent", format!("{role} inherits from {parent} already")));
        }
        (true, Err(place)) => {
            check_room(store, &new, limited)?;
            let junior = read_role(store, parent)?.record;
            if junior.scope != ScopeId::ROOT && junior.scope != old.record.scope {
                return Err(Error::invalid(
                    "parent",
                    format!("{parent} belongs to {}, another tenant than that of {role}", junior.scope),
                ));
            }
            batch.expect_present::<RoleRecord>(&parent);
            if inherits(store, parent, &BTreeSet::from([role]))? {
                let message =
                    format!("{parent} inherits from {role} already, so {role} can not inherit from it");
                return Err(Error::new(ErrorKind::Cycle, message).with_field("parent"));
            }
            new.parents.insert(place, parent);
        }
        (false, Ok(place)) => {
            new.parents.remove(place);
        }
        (false, Err(_)) => {
            return Err(Error::not_found("parent", format_args!("the inheritance of {role} from {parent}")));
        }
    }
    batch.replace(&old, &new)?;
    Ok(new)
}

/// Refuses a parent more than a role may have.
pub(crate) fn check_room(store: &dyn Store, role: &RoleRecord, limited: bool) -> Result<()> {
    let id = role.id;
    if role.parents.len() >= MAX_PARENTS {
        return Err(Error::limit("parent", format!("{id} has {MAX_PARENTS} parents, which is the most")));
    }
    if limited && let Some(other) = present(store, &role.parents)?.first() {
        let message = format!("{id} inherits from {other}; the hierarchy is limited to one parent a role");
        return Err(Error::limit("parent", message));
    }
    Ok(())
}

/// Stages a parent that is created in the same batch. That there is room for it is for the caller to check.
pub(crate) fn stage_new_parent(
    batch: &mut Batch,
    old: &Stored<RoleRecord>,
    parent: RoleId,
    now: Timestamp,
) -> Result<()> {
    let mut new = RoleRecord { updated: now, ..old.record.clone() };
    if let Err(place) = new.parents.binary_search(&parent) {
        new.parents.insert(place, parent);
    }
    batch.replace(old, &new)
}

/// Whether a role inherits from one other at most.
pub(crate) fn is_limited(store: &dyn Store) -> Result<bool> {
    Ok(store::read::<HierarchyRecord>(store, &0)?.is_some_and(|row| row.record.limited))
}

/// Those of the roles that are there: parents that were deleted may not be swept yet.
pub(crate) fn present(store: &dyn Store, roles: &[RoleId]) -> Result<Vec<RoleId>> {
    let mut found = Vec::with_capacity(roles.len());
    for role in roles {
        if store.get(ROLE, &role.bytes())?.is_some() {
            found.push(*role);
        }
    }
    Ok(found)
}

/// The roles and all that they inherit from, as they stand. Expect the hierarchy before, if the answer is relied on.
fn closure(store: &dyn Store, roles: impl IntoIterator<Item = RoleId>) -> Result<Vec<RoleRecord>> {
    let mut open: Vec<RoleId> = roles.into_iter().collect();
    let (mut reached, mut found) = (open.iter().copied().collect::<BTreeSet<_>>(), Vec::new());
    while let Some(next) = open.pop() {
        // A parent may be deleted and not swept yet.
        let Some(role) = store::read::<RoleRecord>(store, &next)? else { continue };
        open.extend(role.record.parents.iter().filter(|parent| reached.insert(**parent)));
        found.push(role.record);
    }
    Ok(found)
}

/// As [`closure`], by number.
pub(crate) fn with_juniors(
    store: &dyn Store,
    roles: impl IntoIterator<Item = RoleId>,
) -> Result<BTreeSet<RoleId>> {
    Ok(closure(store, roles)?.into_iter().map(|role| role.id).collect())
}

/// How sure a login must be with these roles and all that they inherit from. Few roles ask for more than one factor: where
/// none does, the roles are not walked. Expect the hierarchy before, if the answer is relied on.
pub(crate) fn demanded(
    store: &dyn Store,
    roles: impl FnOnce() -> Result<BTreeSet<RoleId>>,
) -> Result<Assurance> {
    let any = Scan { limit: 1, ..Scan::default() };
    if store.scan(ROLE_DEMANDING, &any)?.is_empty() {
        return Ok(Assurance::One);
    }
    Ok(closure(store, roles()?)?.into_iter().map(|role| role.assurance).max().unwrap_or_default())
}

/// The roles that inherit directly from one.
pub(crate) fn heirs(store: &dyn Store, role: RoleId) -> Result<Vec<RoleId>> {
    neighbours(store, role, Direction::Up)
}

/// The role and all that inherit from it, as they stood at one moment.
pub(crate) fn with_seniors(store: &dyn Store, role: RoleId) -> Result<BTreeSet<RoleId>> {
    let hierarchy = || Ok(store::read::<HierarchyRecord>(store, &0)?.map(|row| row.version));
    loop {
        let before = hierarchy()?;
        let (mut reached, mut open) = (BTreeSet::from([role]), vec![role]);
        while let Some(next) = open.pop() {
            open.extend(heirs(store, next)?.into_iter().filter(|heir| reached.insert(*heir)));
        }
        if hierarchy()? == before {
            return Ok(reached);
        }
    }
}

/// Whether a role is one of the others or holds one of them through its parents.
///
/// It walks down from the one and up from the others in turn, and knows the answer when either walk ends: a new role on
/// top of a long chain, or below one, costs one step.
fn inherits(store: &dyn Store, senior: RoleId, juniors: &BTreeSet<RoleId>) -> Result<bool> {
    let senior = BTreeSet::from([senior]);
    let mut walks = [(&senior, juniors, Direction::Down), (juniors, &senior, Direction::Up)]
        .map(|(from, to, direction)| (from.clone(), Vec::from_iter(from.iter().copied()), to, direction));
    loop {
        for (reached, open, wanted, direction) in &mut walks {
            let Some(role) = open.pop() else { return Ok(false) };
            if wanted.contains(&role) {
                return Ok(true);
            }
            open.extend(
                neighbours(store, role, *direction)?.into_iter().filter(|next| reached.insert(*next)),
            );
        }
    }
}

/// Whether the role, or one that it inherits from, is marked as privileged. Expect the hierarchy before, if the answer is
/// relied on.
pub(crate) fn is_privileged(store: &dyn Store, role: RoleId) -> Result<bool> {
    let all = Scan { limit: usize::MAX, ..Scan::default() };
    let marked = store.scan(ROLE_PRIVILEGED, &all)?;
    inherits(store, role, &marked.iter().map(|row| RoleId::read(&row.value)).collect::<Result<_>>()?)
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

fn neighbours(store: &dyn Store, role: RoleId, direction: Direction) -> Result<Vec<RoleId>> {
    match direction {
        Direction::Down => {
            Ok(store::read::<RoleRecord>(store, &role)?.map(|found| found.record.parents).unwrap_or_default())
        }
        Direction::Up => {
            let prefix = role.bytes();
            let scan = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
            store.scan(ROLE_BY_PARENT, &scan)?.iter().map(|row| RoleId::read(&row.value)).collect()
        }
    }
}

/// Expects that no inheritance edge, and no mark that heirs share, changes between this call and the commit.
pub(crate) fn expect_hierarchy(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<HierarchyRecord>(store, &0)? {
        Some(row) => batch.expect_unchanged(&row),
        None => batch.expect(HIERARCHY, 0u8.bytes(), Expect::Absent),
    }
    Ok(())
}

/// Stages the removal of a parent that does not exist any more.
pub(crate) fn stage_drop_parent(batch: &mut Batch, old: &Stored<RoleRecord>, gone: RoleId) -> Result<()> {
    let mut new = old.record.clone();
    new.parents.retain(|parent| *parent != gone);
    batch.replace(old, &new)
}

/// Stages the removal of one bit from a chunk of grants.
pub(crate) fn stage_drop_bit<const DENY: bool>(
    batch: &mut Batch,
    old: &Stored<Chunk<DENY>>,
    gone: Permission,
) -> Result<()> {
    let mut set = PermissionSet::from_words(old.record.words.clone());
    if gone.bit() / CHUNK_BITS != old.record.chunk
        || !set.remove(Permission::from_bit(gone.bit() % CHUNK_BITS))
    {
        return Ok(());
    }
    if set.is_empty() {
        batch.remove(old);
        return Ok(());
    }
    batch.replace(old, &Chunk { words: set.words().to_vec(), ..old.record.clone() })
}

/// Stages that the hierarchy changes; says whether it is limited to one parent a role.
pub(crate) fn stage_hierarchy_edit(store: &dyn Store, batch: &mut Batch) -> Result<bool> {
    match store::read::<HierarchyRecord>(store, &0)? {
        Some(old) => {
            let edits = old.record.edits.wrapping_add(1);
            batch.replace(&old, &HierarchyRecord { edits, ..old.record })?;
            Ok(old.record.limited)
        }
        None => batch.insert(&HierarchyRecord { edits: 1, limited: false }).map(|()| false),
    }
}

/// Stages whether a role may inherit from one other at most.
pub(crate) fn stage_limit(store: &dyn Store, batch: &mut Batch, limited: bool) -> Result<()> {
    match store::read::<HierarchyRecord>(store, &0)? {
        Some(old) => {
            let edits = old.record.edits.wrapping_add(1);
            batch.replace(&old, &HierarchyRecord { edits, limited })
        }
        None => batch.insert(&HierarchyRecord { edits: 1, limited }),
    }
}
