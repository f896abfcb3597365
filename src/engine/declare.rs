//! What the program declares against what the database has stored.

use super::bookkeeping::{Sequence, SequenceRecord};
use super::ids::stage_handed_out;
use super::permissions::{BULK, Permissions};
use super::write::Entry;
use crate::audit::{AuditKind, Subject};
use crate::catalog::{self, DeclaredPermission, PermissionRecord, RetiredRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{self, Store};

/// Disagreements that an error tells one by one.
const MOST_TOLD: usize = 16;

/// How a declaration stands to what is stored.
enum Standing {
    Stored,
    /// Neither the name nor the bit has been used.
    Fresh,
    /// What is wrong, in words.
    Disagrees(Vec<String>),
}

impl Permissions<'_> {
    /// Compares declared permissions with the stored ones, and defines those that are not stored yet under exactly the
    /// bits that were declared. [`Builder::declare`](crate::Builder::declare) does so at the open; this is for a library
    /// that is handed a database which is open already.
    ///
    /// All are compared before the first is defined. They are defined by rising bit, several to a commit; where a crash
    /// comes between, the next call does what is left. Calling it again changes nothing. A stored description stays
    /// as it is, whatever is declared.
    ///
    /// Bits that were passed over are not handed out by [`define`](Self::define) any more; a later declaration can still
    /// take them. That of a deleted permission is never used again.
    ///
    /// # Errors
    /// `Mismatch` where a name is stored under another bit, a bit under another name, or a bit belonged to a permission
    /// that was deleted: all of them in one error, up to sixteen, with what to do. `InvalidInput` for names,
    /// descriptions and numbers that can not be stored, and for declarations that contradict each other; the storage
    /// kinds. Nothing is defined then, unless somebody else declares or defines at the same time.
    pub fn declare(&self, declared: &[DeclaredPermission]) -> Result<()> {
        self.declare_agreed(&catalog::agreed(declared)?)
    }

    /// The same for what is in order and by rising bit already.
    pub(super) fn declare_agreed(&self, declared: &[DeclaredPermission]) -> Result<()> {
        let engine = self.gate.engine();
        let fresh = fresh(&*engine.store, declared)?;
        let Some(last) = fresh.last() else { return Ok(()) };
        // From the first commit on, so that nothing which is defined meanwhile takes a bit of the later ones.
        let next = u64::from(last.permission().bit()) + 1;
        for group in fresh.chunks(BULK) {
            engine.write(self.gate.actor(), |plan| {
                // Whoever defines or deletes a permission writes this row: what is read after it stays so.
                let handed_out = store::read::<SequenceRecord>(plan.store, &(Sequence::Permission as u8))?;
                for one in self::fresh(plan.store, group)? {
                    let (permission, name) = (one.permission(), one.name());
                    catalog::stage_define(&mut plan.batch, permission, name, one.description(), plan.now)?;
                    let entry = Entry::of(Subject::Permission(permission)).detail(name);
                    plan.record(AuditKind::PermissionDefined, entry)?;
                }
                match plan.batch.operations() {
                    0 => Ok(()),
                    _ => stage_handed_out(&mut plan.batch, handed_out.as_ref(), next),
                }
            })?;
        }
        Ok(())
    }
}

/// Those that are to be defined, if none disagrees.
fn fresh(store: &dyn Store, declared: &[DeclaredPermission]) -> Result<Vec<DeclaredPermission>> {
    let (mut fresh, mut told, mut wrong) = (Vec::new(), Vec::new(), 0);
    for one in declared {
        match standing(store, one)? {
            Standing::Stored => {}
            Standing::Fresh => fresh.push(*one),
            Standing::Disagrees(how) => {
                wrong += 1;
                told.extend(how);
            }
        }
    }
    if wrong == 0 {
        return Ok(fresh);
    }
    let free = first_free(store, declared)?;
    let more = told.len().saturating_sub(MOST_TOLD);
    told.truncate(MOST_TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(Error::new(
        ErrorKind::Mismatch,
        format!(
            "{wrong} of {} declared permissions do not agree with the database: {}{more}. A stored bit never \
             changes its meaning: correct the declaration. Bits from {free} on are free",
            declared.len(),
            told.join("; ")
        ),
    )
    .with_field("declared"))
}

fn standing(store: &dyn Store, declared: &DeclaredPermission) -> Result<Standing> {
    let (permission, name) = (declared.permission(), declared.name());
    let bit = permission.bit();
    let mut wrong = Vec::new();
    let under_bit = store::read::<PermissionRecord>(store, &permission)?;
    if under_bit.as_ref().is_some_and(|found| found.record.name == name) {
        return Ok(Standing::Stored);
    }
    if let Some(found) = catalog::find(store, name)? {
        let stored = found.record.permission.bit();
        wrong.push(format!(
            "{name:?} is declared with bit {bit} and stored with bit {stored} (use `bit = {stored}`)"
        ));
    }
    if let Some(found) = under_bit {
        let stored = found.record.name;
        wrong.push(format!("bit {bit} is declared as {name:?} and stored as {stored:?} (use another bit)"));
    } else if let Some(found) = store::read::<RetiredRecord>(store, &permission)? {
        let RetiredRecord { name: was, retired, .. } = found.record;
        wrong.push(format!(
            "bit {bit} is declared as {name:?} and was {was:?} until that was deleted at {retired} (use another bit)"
        ));
    }
    Ok(if wrong.is_empty() { Standing::Fresh } else { Standing::Disagrees(wrong) })
}

/// The first bit beyond all that were ever handed out or are declared.
fn first_free(store: &dyn Store, declared: &[DeclaredPermission]) -> Result<u64> {
    let handed_out = store::read::<SequenceRecord>(store, &(Sequence::Permission as u8))?;
    let declared = declared.last().map_or(0, |last| u64::from(last.permission().bit()) + 1);
    Ok(handed_out.map_or(0, |row| row.record.next).max(declared))
}
