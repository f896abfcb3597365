//! Stages changes to the sets, and the rows in which those meet who could break one only together.

use super::{
    ACTIVITY, EDITS, MAX_ROLES, MAX_SETS, SEPARATION_BY_NAME, SEPARATION_STATE, SeparationRecord,
    SeparationStateRecord, name_key,
};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, SeparationId};
use crate::store::{self, Batch, Expect, Scan, Store, Stored};
use crate::text;

/// The set's row, or that there is no such set.
pub(crate) fn read_set(store: &dyn Store, id: SeparationId) -> Result<Stored<SeparationRecord>> {
    store::read(store, &id)?.ok_or_else(|| Error::not_found("separation", id))
}

/// All sets, which the commit expects to be as they are read here; none, and cheap, where there never were any.
///
/// Where there ever were some, whoever gives roles also stages the activity: the first set is made only after everybody
/// does.
pub(crate) fn expect_sets(store: &dyn Store, batch: &mut Batch) -> Result<Option<Vec<SeparationRecord>>> {
    let Some(edits) = store::read::<SeparationStateRecord>(store, &EDITS)? else {
        batch.expect(SEPARATION_STATE, EDITS.bytes(), Expect::Absent);
        return Ok(None);
    };
    batch.expect_unchanged(&edits);
    let scan = Scan { limit: MAX_SETS, ..Scan::default() };
    let sets = store::page::<SeparationRecord>(store, &scan)?.0;
    Ok(Some(sets.into_iter().map(|set| set.record).collect()))
}

/// Stages that the sets change.
pub(crate) fn stage_edit(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<SeparationStateRecord>(store, &EDITS)? {
        Some(old) => {
            let count = old.record.count.wrapping_add(1);
            batch.replace(&old, &SeparationStateRecord { which: EDITS, count })
        }
        None => batch.insert(&SeparationStateRecord { which: EDITS, count: 1 }),
    }
}

/// When somebody was last given roles, or made some active: to be read before what others hold is.
pub(crate) fn read_activity(store: &dyn Store) -> Result<Option<Stored<SeparationStateRecord>>> {
    store::read(store, &ACTIVITY)
}

/// Stages that somebody is given roles, or has more of them active.
///
/// Those who judge what others hold (`quiet`) are refused if anybody else was given some since; the others write
/// over whatever is there, so that they do not get into each other's way.
pub(crate) fn stage_activity(
    batch: &mut Batch,
    read: Option<&Stored<SeparationStateRecord>>,
    quiet: bool,
) -> Result<()> {
    if quiet {
        match read {
            Some(read) => batch.expect_unchanged(read),
            None => batch.expect(SEPARATION_STATE, ACTIVITY.bytes(), Expect::Absent),
        }
    }
    // The number says nothing; that the row was written is what counts.
    let count = read.map_or(0, |read| read.record.count).wrapping_add(1);
    batch.overwrite(&SeparationStateRecord { which: ACTIVITY, count })
}

fn check_cardinality(cardinality: u32, roles: usize) -> Result<()> {
    if cardinality >= 2 && cardinality as usize <= roles {
        return Ok(());
    }
    let message = format!("is {cardinality}; for {roles} roles it is from 2 to {roles}");
    Err(Error::invalid(
        "cardinality",
        if roles < 2 { "a set has at least 2 roles".to_owned() } else { message },
    ))
}

/// Stages a set. That its roles exist is for the caller to expect.
pub(crate) fn stage_create(store: &dyn Store, batch: &mut Batch, set: &SeparationRecord) -> Result<()> {
    text::name("separation.name", &set.name)?;
    if set.roles.len() > MAX_ROLES {
        return Err(Error::limit("roles", format!("are {}; at most {MAX_ROLES} are taken", set.roles.len())));
    }
    check_cardinality(set.cardinality, set.roles.len())?;
    if store.get(SEPARATION_BY_NAME, &name_key(set.kind, &set.name))?.is_some() {
        let message = format!("there is a {} separation \"{}\" already", set.kind, set.name);
        return Err(Error::exists("separation.name", message));
    }
    let scan = Scan { limit: MAX_SETS, ..Scan::default() };
    if store::page::<SeparationRecord>(store, &scan)?.0.len() >= MAX_SETS {
        return Err(Error::limit("separation", format!("there are {MAX_SETS} sets, which is the most")));
    }
    batch.insert(set)
}

/// Stages a role more or less in a set.
pub(crate) fn stage_member(
    store: &dyn Store,
    batch: &mut Batch,
    id: SeparationId,
    role: RoleId,
    add: bool,
    now: Timestamp,
) -> Result<SeparationRecord> {
    let old = read_set(store, id)?;
    let mut new = SeparationRecord { updated: now, ..old.record.clone() };
    match (add, new.roles.binary_search(&role)) {
        (true, Ok(_)) => return Err(Error::exists("role", format!("{role} is in {id} already"))),
        (true, Err(_)) if new.roles.len() >= MAX_ROLES => {
            return Err(Error::limit("role", format!("{id} has {MAX_ROLES} roles, which is the most")));
        }
        (true, Err(place)) => new.roles.insert(place, role),
        (false, Ok(place)) => {
            new.roles.remove(place);
            check_cardinality(new.cardinality, new.roles.len())?;
        }
        (false, Err(_)) => return Err(Error::not_found("role", format_args!("{role} in {id}"))),
    }
    batch.replace(&old, &new)?;
    Ok(new)
}

/// Stages another number.
pub(crate) fn stage_cardinality(
    store: &dyn Store,
    batch: &mut Batch,
    id: SeparationId,
    cardinality: u32,
    now: Timestamp,
) -> Result<SeparationRecord> {
    let old = read_set(store, id)?;
    check_cardinality(cardinality, old.record.roles.len())?;
    let new = SeparationRecord { cardinality, updated: now, ..old.record.clone() };
    batch.replace(&old, &new)?;
    Ok(new)
}

/// Stages the end of a set.
pub(crate) fn stage_delete(
    store: &dyn Store,
    batch: &mut Batch,
    id: SeparationId,
) -> Result<SeparationRecord> {
    let old = read_set(store, id)?;
    batch.remove(&old);
    Ok(old.record)
}

/// Stages the removal of a role that does not exist any more. A set of which nobody can come to the number any more
/// goes with it.
pub(crate) fn stage_drop_role(batch: &mut Batch, old: &Stored<SeparationRecord>, gone: RoleId) -> Result<()> {
    let mut new = old.record.clone();
    new.roles.retain(|role| *role != gone);
    if (new.roles.len() as u64) < u64::from(new.cardinality) {
        batch.remove(old);
        return Ok(());
    }
    batch.replace(old, &new)
}
