//! Stages changes to the sets, and the rows in which those meet who could break one only together.

use super::{
    EDITS, MAX_ROLES, MAX_SETS, ROLES, SEPARATION_BY_NAME, SEPARATION_STATE, SESSIONS, SeparationRecord,
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
/// Where there ever were some, whoever gives roles or opens a session also leaves a trace: the first set is made only after
/// everybody does.
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

/// When somebody was last given roles, and when some were last made active: read before what others hold is.
pub(crate) struct Traces {
    roles: Option<Stored<SeparationStateRecord>>,
    sessions: Option<Stored<SeparationStateRecord>>,
}

impl Traces {
    pub(crate) fn read(store: &dyn Store) -> Result<Self> {
        Ok(Self { roles: store::read(store, &ROLES)?, sessions: store::read(store, &SESSIONS)? })
    }

    /// Expects that nobody was given roles since.
    pub(crate) fn expect_roles(&self, batch: &mut Batch) {
        expect(batch, ROLES, self.roles.as_ref());
    }

    /// Expects that no session was opened, and no role made active, since.
    pub(crate) fn expect_sessions(&self, batch: &mut Batch) {
        expect(batch, SESSIONS, self.sessions.as_ref());
    }

    /// Stages that somebody is given roles. It writes over whatever is there, so that those who give roles do not get
    /// into each other's way.
    pub(crate) fn leave_roles(&self, batch: &mut Batch) -> Result<()> {
        leave(batch, ROLES, self.roles.as_ref())
    }

    /// Stages that a session is opened, or has more roles active.
    pub(crate) fn leave_sessions(&self, batch: &mut Batch) -> Result<()> {
        leave(batch, SESSIONS, self.sessions.as_ref())
    }
}

fn expect(batch: &mut Batch, which: u8, read: Option<&Stored<SeparationStateRecord>>) {
    match read {
        Some(read) => batch.expect_unchanged(read),
        None => batch.expect(SEPARATION_STATE, which.bytes(), Expect::Absent),
    }
}

fn leave(batch: &mut Batch, which: u8, read: Option<&Stored<SeparationStateRecord>>) -> Result<()> {
    // The number says nothing; that the row was written is what counts.
    let count = read.map_or(0, |read| read.record.count).wrapping_add(1);
    batch.overwrite(&SeparationStateRecord { which, count })
}

fn check_cardinality(cardinality: u32, roles: usize) -> Result<()> {
    if roles < 2 {
        return Err(Error::invalid("roles", format!("are {roles} different ones; a set has at least 2")));
    }
    if cardinality >= 2 && cardinality as usize <= roles {
        return Ok(());
    }
    let message = format!("is {cardinality}; for {roles} roles it is from 2 to {roles}");
    Err(Error::invalid("cardinality", message))
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

/// Stages a role more or less in a set that was read. `present` are those of its roles that still exist.
pub(crate) fn stage_member(
    batch: &mut Batch,
    old: &Stored<SeparationRecord>,
    present: Vec<RoleId>,
    (role, add): (RoleId, bool),
    now: Timestamp,
) -> Result<SeparationRecord> {
    let id = old.record.id;
    let mut new = SeparationRecord { roles: present, updated: now, ..old.record.clone() };
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
    batch.replace(old, &new)?;
    Ok(new)
}

/// Stages another number for a set that was read. `present` are those of its roles that still exist.
pub(crate) fn stage_cardinality(
    batch: &mut Batch,
    old: &Stored<SeparationRecord>,
    present: Vec<RoleId>,
    cardinality: u32,
    now: Timestamp,
) -> Result<SeparationRecord> {
    check_cardinality(cardinality, present.len())?;
    let new = SeparationRecord { roles: present, cardinality, updated: now, ..old.record.clone() };
    batch.replace(old, &new)?;
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
