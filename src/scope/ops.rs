//! Stages changes to the tree of scopes.

use super::{MAX_DEPTH, SCOPE_BY_NAME, SCOPE_TREE, ScopeRecord, ScopeTreeRecord, name_key};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Key, ScopeId};
use crate::store::{self, Batch, Expect, Store, Stored};
use crate::text;

/// The scope's row, or that there is no such scope. The global one has none.
pub(crate) fn read_scope(store: &dyn Store, id: ScopeId) -> Result<Stored<ScopeRecord>> {
    if id == ScopeId::ROOT {
        return Err(Error::not_found(
            "scope",
            format_args!("a record of {id}, the global scope, which stays as it is,"),
        ));
    }
    store::read(store, &id)?.ok_or_else(|| Error::not_found("scope", id))
}

/// The names of a path, from the top: `acme/project:42`.
pub(crate) fn parse_path(path: &str) -> Result<Vec<&str>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > MAX_DEPTH {
        return Err(Error::limit(
            "scope",
            format!("has {} levels; at most {MAX_DEPTH} are taken", names.len()),
        ));
    }
    for name in &names {
        text::name("scope", name)?;
    }
    Ok(names)
}

/// The scope and those that it lies in, itself first, the global one left out. `NotFound` where one of them is gone.
fn way_up(store: &dyn Store, id: ScopeId) -> Result<Vec<Stored<ScopeRecord>>> {
    let (mut found, mut next) = (Vec::new(), id);
    while next != ScopeId::ROOT {
        if found.len() >= MAX_DEPTH {
            return Err(Error::damaged(format!("{id} lies deeper than {MAX_DEPTH} levels")));
        }
        let scope = read_scope(store, next).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found("scope", id),
            _ => error,
        })?;
        next = scope.record.parent;
        found.push(scope);
    }
    Ok(found)
}

/// The scope's place by names, empty for the global one. `NotFound` where it, or what it lies in, was deleted.
pub(crate) fn path_of(store: &dyn Store, id: ScopeId) -> Result<String> {
    let names: Vec<String> = way_up(store, id)?.into_iter().rev().map(|scope| scope.record.name).collect();
    Ok(names.join("/"))
}

/// The scope and all that it lies in, itself first and the global one last.
pub(crate) fn levels(store: &dyn Store, id: ScopeId) -> Result<Vec<ScopeId>> {
    let above = way_up(store, id)?;
    Ok(above.into_iter().map(|scope| scope.record.id).chain([ScopeId::ROOT]).collect())
}

/// The tenant that the scope lies in, or is; the global scope for itself. Also says that the scope is there.
pub(crate) fn tenant_of(store: &dyn Store, id: ScopeId) -> Result<ScopeId> {
    Ok(way_up(store, id)?.last().map_or(ScopeId::ROOT, |scope| scope.record.id))
}

fn check_name(store: &dyn Store, parent: ScopeId, name: &str) -> Result<()> {
    text::name("scope.name", name)?;
    if name.contains('/') {
        return Err(Error::invalid("scope.name", "has a \"/\", which parts the names of a path"));
    }
    match store.get(SCOPE_BY_NAME, &name_key(parent, name))? {
        Some(_) => Err(Error::exists("scope.name", format!("there is a \"{name}\" in {parent} already"))),
        None => Ok(()),
    }
}

/// Expects the place and everything above it to be as it is now, so that nothing is put under what is being deleted
/// or moved. Returns the level of a child.
fn expect_place(store: &dyn Store, batch: &mut Batch, parent: ScopeId) -> Result<usize> {
    expect_tree(store, batch)?;
    let above = way_up(store, parent)?;
    Ok(above.len() + 1)
}

/// Expects that no scope is moved or deleted between this call and the commit: what is read of the tree after it
/// still holds then.
pub(crate) fn expect_tree(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<ScopeTreeRecord>(store, &0)? {
        Some(row) => batch.expect_unchanged(&row),
        None => batch.expect(SCOPE_TREE, 0u8.bytes(), Expect::Absent),
    }
    Ok(())
}

fn stage_tree(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<ScopeTreeRecord>(store, &0)? {
        Some(old) => batch.replace(&old, &ScopeTreeRecord { moves: old.record.moves.wrapping_add(1) }),
        None => batch.insert(&ScopeTreeRecord { moves: 1 }),
    }
}

/// Stages a scope in another one.
pub(crate) fn stage_create(
    store: &dyn Store,
    batch: &mut Batch,
    id: ScopeId,
    parent: ScopeId,
    name: &str,
    now: Timestamp,
) -> Result<()> {
    if expect_place(store, batch, parent)? > MAX_DEPTH {
        return Err(Error::limit("scope", format!("{parent} is {MAX_DEPTH} levels deep, which is the most")));
    }
    check_name(store, parent, name)?;
    batch.insert(&ScopeRecord { id, parent, name: name.to_owned(), created: now })
}

/// Stages another name.
pub(crate) fn stage_rename(store: &dyn Store, batch: &mut Batch, id: ScopeId, name: &str) -> Result<()> {
    way_up(store, id)?;
    let old = read_scope(store, id)?;
    check_name(store, old.record.parent, name)?;
    batch.replace(&old, &ScopeRecord { name: name.to_owned(), ..old.record.clone() })
}

/// Stages another place in the same tenant: roles and their holders never leave it.
///
/// `depth` is how many levels lie below the scope.
pub(crate) fn stage_move(
    store: &dyn Store,
    batch: &mut Batch,
    id: ScopeId,
    parent: ScopeId,
    depth: usize,
) -> Result<()> {
    stage_tree(store, batch)?;
    let tenant = tenant_of(store, id)?;
    let old = read_scope(store, id)?;
    if tenant == id {
        return Err(Error::invalid(
            "scope",
            format!("{id} is a tenant, which has no place to move to; rename it, or make what it holds anew"),
        ));
    }
    let above = way_up(store, parent)?;
    if above.iter().any(|scope| scope.record.id == id) {
        return Err(Error::new(
            ErrorKind::Cycle,
            format!("{parent} lies in {id}, which can not be moved into it"),
        )
        .with_field("parent"));
    }
    if above.last().is_none_or(|top| top.record.id != tenant) {
        return Err(Error::invalid(
            "parent",
            format!("{parent} does not lie in {tenant}, the tenant of {id}"),
        ));
    }
    if above.len() + 1 + depth > MAX_DEPTH {
        return Err(Error::limit(
            "scope",
            format!("what lies in {id} would be deeper than {MAX_DEPTH} levels"),
        ));
    }
    // Also where it lies there already: the name is taken by itself.
    check_name(store, parent, &old.record.name)?;
    batch.replace(&old, &ScopeRecord { parent, ..old.record.clone() })
}

/// Stages the scope's own row away: whatever lies in it is out of reach with it, and swept afterwards.
pub(crate) fn stage_delete(store: &dyn Store, batch: &mut Batch, id: ScopeId) -> Result<ScopeRecord> {
    stage_tree(store, batch)?;
    way_up(store, id)?;
    let old = read_scope(store, id)?;
    batch.remove(&old);
    Ok(old.record)
}
