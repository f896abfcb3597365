//! What administrators see and do, and what maintenance removes.

use super::is_kept;
use crate::assurance::Method;
use crate::audit::{AuditKind, Subject};
use crate::engine::users::Users;
use crate::engine::verify::Verification;
use crate::engine::write::Entry as Told;
use crate::engine::{Engine, warrant};
use crate::error::Result;
use crate::id::{Key, UserId};
use crate::store::{self, Batch, Scan, Stored};
use crate::throttle::{
    AccountRecord, COUNT_PAIRS, Counted, Entry, Failures, LoginProtection, Party, RowRecord, SourceCount,
    ThrottlePolicy, TriedFrom, Wait, stage_row,
};
use crate::user;

/// Rows that one step of maintenance reads, and removes in one commit.
const PORTION: usize = 64;
/// Rows that one user can have are no more than devices, and two.
const MANY: usize = 80;

impl Users<'_> {
    /// How often somebody was wrong at the user's password and second factors since they were last right, and for how long
    /// logins are refused.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn login_protection(&self, id: UserId) -> Result<LoginProtection> {
        let engine = self.gate.engine();
        let account = user::read_user(&*engine.store, id)?;
        let policy = &engine.throttle.policy;
        let prefix = id.bytes();
        let scan = Scan { prefix: &prefix, limit: MANY, ..Scan::default() };
        let (rows, _) = store::page::<AccountRecord>(&*engine.store, &scan)?;
        let mut failures = Vec::new();
        for row in rows {
            let from = match row.record.party {
                Party::Stranger => TriedFrom::Anywhere,
                Party::Session => TriedFrom::Session,
                Party::Device(device) => TriedFrom::Device(device),
            };
            for counter in &row.record.counters {
                failures.extend(counter.method.iter().map(|method| Failures {
                    method,
                    from,
                    failures: counter.failures,
                    last: counter.last,
                    stopped: policy.on && policy.stops(counter.failures),
                }));
            }
        }
        let name = super::entry::<Counted>(
            &*engine.store,
            Some(engine.throttle.place_of_name(&account.record.canonical)),
        )?;
        let wait =
            name.filter(|_| policy.on).map(|name| policy.after(name.failures, name.last, 0, engine.now()));
        let refused_until = match wait {
            Some(Wait::Until(end)) => Some(end),
            _ => None,
        };
        Ok(LoginProtection { failures, refused_until })
    }

    /// Forgets all failures at the user's password and second factors, and at the names that the user can log in by: whoever waited need not, and
    /// what was stopped works again with the same password. Whether there were any.
    ///
    /// After a stop, a new password is the better answer: guesses have been made at the present one (NIST SP 800-63B-4,
    /// section 3.2.2). Addresses stay as they are.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn clear_login_failures(&self, id: UserId) -> Result<bool> {
        let engine = self.gate.engine();
        let (cleared, _) = engine.write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, id, AuditKind::LoginFailuresCleared.name())?;
            if !engine.forget_failures(plan, id, None)? {
                plan.batch = Batch::new();
                return Ok(false);
            }
            plan.batch.expect_present::<user::UserRecord>(&id);
            plan.record(AuditKind::LoginFailuresCleared, Told::of(Subject::User(id)))?;
            Ok(true)
        })?;
        Ok(cleared)
    }
}

/// Which table maintenance is at, and after which key.
#[derive(Debug, Default)]
pub(super) struct Swept {
    table: usize,
    after: Option<Vec<u8>>,
}

impl Engine {
    /// Removes rows in which nothing counts any more, among the next so many, and goes round.
    pub(in crate::engine) fn sweep_throttle(&self, budget: usize) -> Result<usize> {
        // One at a time; whoever comes second finds it being done.
        let Some(mut at) = self.throttle.swept.try_lock() else { return Ok(0) };
        let (mut read, mut removed, mut tables) = (0, 0, 0);
        while read < budget && tables < 3 {
            let limit = PORTION.min(budget - read);
            let (seen, gone, next) = match at.table {
                0 => self.sweep_accounts(at.after.as_deref(), limit)?,
                1 => self.sweep_rows::<Counted>(at.after.as_deref(), limit, |row, now| {
                    row.kind == COUNT_PAIRS && !row.entries.iter().any(|pair| is_kept(pair, now))
                })?,
                _ => self.sweep_rows::<SourceCount>(at.after.as_deref(), limit, |row, now| {
                    row.entries
                        .iter()
                        .all(|source| source.filled <= now && now.since(source.since) >= ThrottlePolicy::HOUR)
                })?,
            };
            read += seen.max(1);
            removed += gone;
            at.after = next;
            if at.after.is_none() {
                at.table = (at.table + 1) % 3;
                tables += 1;
            }
        }
        Ok(removed)
    }

    /// Counts of devices that were forgotten.
    fn sweep_accounts(&self, after: Option<&[u8]>, limit: usize) -> Result<(usize, usize, Option<Vec<u8>>)> {
        let (rows, next) =
            store::page::<AccountRecord>(&*self.store, &Scan { after, limit, ..Scan::default() })?;
        let mut batch = Batch::new();
        for row in &rows {
            if let Party::Device(device) = row.record.party
                && store::read::<crate::device::DeviceRecord>(&*self.store, &(row.record.user, device))?
                    .is_none()
            {
                batch.remove(row);
            }
        }
        self.removed(rows.len(), batch, next)
    }

    fn sweep_rows<E: Entry>(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        is_idle: impl Fn(&RowRecord<E>, crate::clock::Timestamp) -> bool,
    ) -> Result<(usize, usize, Option<Vec<u8>>)> {
        let (rows, next) =
            store::page::<RowRecord<E>>(&*self.store, &Scan { after, limit, ..Scan::default() })?;
        let (mut batch, now, bits) = (Batch::new(), self.now(), self.throttle.policy.row_bits());
        // Rows of a table of another size are found by nobody.
        let bits = if E::TABLE == SourceCount::TABLE { bits.saturating_sub(3) } else { bits };
        for row in rows.iter().filter(|row| row.record.bits != bits || is_idle(&row.record, now)) {
            stage_row(&mut batch, Some(row), &RowRecord { entries: Vec::new(), ..row.record.clone() })?;
        }
        self.removed(rows.len(), batch, next)
    }

    fn removed(
        &self,
        read: usize,
        batch: Batch,
        next: Option<Vec<u8>>,
    ) -> Result<(usize, usize, Option<Vec<u8>>)> {
        let removed = batch.writes.len();
        // Where one of the rows has changed meanwhile, the next round finds the others again.
        let done = self.commit_or_skip(batch)?;
        Ok((read, if done { removed } else { 0 }, next))
    }

    /// Whether every row of counts is one that a count could have made.
    pub(in crate::engine) fn verify_throttle(&self, found: &mut Verification) -> Result<()> {
        self.each::<RowRecord<Counted>>(|row| tell(found, row))?;
        self.each::<RowRecord<SourceCount>>(|row| tell(found, row))?;
        self.each::<AccountRecord>(|row| {
            let one =
                |method: Method| row.record.counters.iter().filter(|c| c.method.contains(method)).count();
            if row.record.counters.is_empty() || Method::ALL.into_iter().any(|method| one(method) > 1) {
                found.problem(format_args!(
                    "throttle_account: a row of {} counts nothing, or a method twice",
                    row.record.user
                ));
            }
            Ok(())
        })
    }
}

fn tell<E: Entry>(found: &mut Verification, row: &Stored<RowRecord<E>>) -> Result<()> {
    if let Some(fault) = row.record.fault() {
        found.problem(format_args!("{}: row {} {fault}", E::TABLE.name, row.record.row));
    }
    Ok(())
}
