//! Removing what has no effect any more: in small batches, at any time. `upkeep` calls it.

use super::Engine;
use super::bookkeeping::{LEFTOVER, Leftover, LeftoverRecord};
use super::write::{Entry, Plan};
use crate::access::{ACCESS_BY_END, ACCESS_BY_PERMISSION, ACCESS_BY_SCOPE, AccessRecord};
use crate::apikey::{API_KEY_BY_OWNER, ApiKeyRecord, ApiKeyTurnRecord};
use crate::assignment::{ASSIGNMENT_BY_END, ASSIGNMENT_BY_ROLE, ASSIGNMENT_BY_SCOPE, AssignmentRecord};
use crate::audit::{Actor, AuditKind};
use crate::challenge::{CHALLENGE_BY_USER, ChallengeRecord};
use crate::clock::Timestamp;
use crate::credential::{CredentialRecord, FormerPasswordRecord};
use crate::delegation::{DELEGATION_BY_ROLE, DelegationRecord};
use crate::device::{DEVICE, DeviceRecord};
use crate::error::Result;
use crate::factor::FactorRecord;
use crate::flag::{FLAG_RULE_BY_END, FLAG_RULE_BY_TARGET, FlagRuleRecord, FlagTarget};
use crate::history::{LOGIN_HISTORY, LOGIN_NETWORK, LoginRecord, NetworkRecord};
use crate::id::{Flag, Key, RoleId, ScopeId, UserId};
use crate::passkey::{PASSKEY, PasskeyRecord, PasskeyState, StateKey};
use crate::permission::Permission;
use crate::role::{self, DenyChunk, GrantChunk, ROLE_BY_NAME, ROLE_BY_PARENT, RoleRecord};
use crate::scope::{SCOPE_BY_NAME, ScopeRecord};
use crate::separation::{self, SEPARATION_BY_ROLE, SeparationRecord};
use crate::session::{SESSION_BY_EXPIRY, SESSION_BY_USER, SessionRecord};
use crate::store::{self, Batch, CommitError, Record, Scan, Stored, Table};
use crate::throttle::AccountRecord;
use crate::user::{AttributesRecord, ContactRecord, UserRecord};
use std::time::Duration;

/// Records that one batch removes or rewrites; each takes up to five operations.
pub(super) const BATCH: usize = 32;
/// How long a spent challenge is remembered after it expired: a clock that is set back in a crash must be set back further
/// than this to make an answer good again.
const KEEP_SPENT: Duration = Duration::from_secs(3600);
/// Rows that the change which left them behind sweeps itself before it returns.
const SWEEP_AFTER: usize = 256;

impl Engine {
    /// After a change that left something behind: a small portion of it at once. The change itself is committed and
    /// acknowledged whatever happens here; what is not swept now is swept by the next maintenance or open.
    pub(super) fn sweep_after(&self, what: Leftover) {
        let prefix = LeftoverRecord { what, mark: 0 }.key().0.bytes();
        let _ = self.sweep_markers(&prefix, SWEEP_AFTER);
    }

    /// Sweeps for every marker, up to a budget of rows.
    pub(super) fn sweep_leftovers(&self, budget: usize) -> Result<usize> {
        self.sweep_markers(&[], budget)
    }

    /// Ends all sessions that a role must not have which has come to ask for more, of those markers that are there now.
    pub(super) fn finish_demands(&self) -> Result<()> {
        let prefix = [LeftoverRecord::DEMAND];
        while !self.slice::<LeftoverRecord>(LEFTOVER, &prefix, 1)?.is_empty() {
            self.sweep_markers(&prefix, usize::MAX)?;
        }
        Ok(())
    }

    fn sweep_markers(&self, prefix: &[u8], budget: usize) -> Result<usize> {
        let mut swept = 0;
        let markers = self.slice::<LeftoverRecord>(LEFTOVER, prefix, BATCH)?;
        for marker in markers {
            let (rows, finished) = self.sweep_one(marker.record.what, budget.saturating_sub(swept))?;
            swept += rows;
            if !finished {
                return Ok(swept.max(budget));
            }
            let mut batch = Batch::new();
            batch.remove(&marker);
            self.commit_or_skip(batch)?;
        }
        Ok(swept)
    }

    /// Rows swept, and whether nothing is left.
    fn sweep_one(&self, what: Leftover, budget: usize) -> Result<(usize, bool)> {
        let mut rows = 0;
        while rows < budget {
            let batch = match what {
                Leftover::User(user) => self.rows_of_user(user)?,
                Leftover::Role(role) => self.rows_of_role(role)?,
                Leftover::Sessions(user) => self.ended_sessions(user)?,
                Leftover::Permission(permission) => self.rows_of_permission(permission)?,
                Leftover::Scope(scope) => self.rows_of_scope(scope)?,
                Leftover::Flag(flag) => self.rules_of_flag(flag)?,
                // To the end, whatever the budget: sessions that should have ended do no harm only once they have.
                Leftover::Demand(role) => return Ok((self.end_weak_sessions(role)?, true)),
            };
            if batch.operations() == 0 {
                return Ok((rows, true));
            }
            rows += batch.writes.len();
            self.commit_or_skip(batch)?;
        }
        Ok((rows, false))
    }

    /// Some of what belonged to a deleted user.
    fn rows_of_user(&self, user: UserId) -> Result<Batch> {
        let (mut batch, prefix) = (Batch::new(), user.bytes());
        if self.stage_off::<SessionRecord>(&mut batch, SESSION_BY_USER, &prefix)?
            || self.stage_off::<ApiKeyRecord>(&mut batch, API_KEY_BY_OWNER, &prefix)?
            || self.stage_off::<ChallengeRecord>(&mut batch, CHALLENGE_BY_USER, &prefix)?
            || self.stage_off::<AssignmentRecord>(&mut batch, AssignmentRecord::TABLE, &prefix)?
            || self.stage_off::<AccessRecord>(&mut batch, AccessRecord::TABLE, &prefix)?
            || self.stage_rules_off(&mut batch, FlagTarget::User(user))?
            || self.stage_tickets_off(&mut batch, user)?
            || self.stage_off::<ContactRecord>(&mut batch, ContactRecord::TABLE, &prefix)?
            || self.stage_off::<AttributesRecord>(&mut batch, AttributesRecord::TABLE, &prefix)?
            || self.stage_off::<FormerPasswordRecord>(&mut batch, FormerPasswordRecord::TABLE, &prefix)?
            || self.stage_off::<FactorRecord>(&mut batch, FactorRecord::TABLE, &prefix)?
            || self.stage_off::<AccountRecord>(&mut batch, AccountRecord::TABLE, &prefix)?
            || self.stage_off::<PasskeyRecord>(&mut batch, PASSKEY, &prefix)?
            || self.stage_off::<DeviceRecord>(&mut batch, DEVICE, &prefix)?
            || self.stage_off::<NetworkRecord>(&mut batch, LOGIN_NETWORK, &prefix)?
            || self.stage_off::<LoginRecord>(&mut batch, LOGIN_HISTORY, &prefix)?
        {
            return Ok(batch);
        }
        if let Some(turn) = store::read::<ApiKeyTurnRecord>(&*self.store, &user)? {
            batch.remove(&turn);
        }
        if let Some(credential) = store::read::<CredentialRecord>(&*self.store, &user)? {
            batch.remove(&credential);
        }
        if let Some(open) = store::read::<PasskeyState>(&*self.store, &StateKey::Open(user))? {
            batch.remove(&open);
        }
        Ok(batch)
    }

    /// Stages some records away, found in their table or an index by the beginning of their keys; true if there are any.
    fn stage_off<R: Record>(&self, batch: &mut Batch, table: Table, prefix: &[u8]) -> Result<bool> {
        for record in self.slice::<R>(table, prefix, BATCH)? {
            batch.remove(&record);
        }
        Ok(batch.operations() > 0)
    }

    /// Some of what hung on a deleted role.
    fn rows_of_role(&self, role: RoleId) -> Result<Batch> {
        let (mut batch, prefix) = (Batch::new(), role.bytes());
        // First, so that a set is as it is told to be when the deletion returns.
        for set in self.slice::<SeparationRecord>(SEPARATION_BY_ROLE, &prefix, 1)? {
            separation::stage_edit(&*self.store, &mut batch)?;
            separation::stage_drop_role(&mut batch, &set, role)?;
        }
        if batch.operations() > 0 {
            return Ok(batch);
        }
        for assignment in self.slice::<AssignmentRecord>(ASSIGNMENT_BY_ROLE, &prefix, BATCH)? {
            batch.remove(&assignment);
        }
        if batch.operations() > 0 || self.stage_rules_off(&mut batch, FlagTarget::Role(role))? {
            return Ok(batch);
        }
        for delegation in self.slice::<DelegationRecord>(DELEGATION_BY_ROLE, &prefix, BATCH)? {
            batch.remove(&delegation);
        }
        if batch.operations() > 0 {
            return Ok(batch);
        }
        for chunk in self.slice::<GrantChunk>(GrantChunk::TABLE, &prefix, BATCH)? {
            batch.remove(&chunk);
        }
        for chunk in self.slice::<DenyChunk>(DenyChunk::TABLE, &prefix, BATCH)? {
            batch.remove(&chunk);
        }
        for heir in self.slice::<RoleRecord>(ROLE_BY_PARENT, &prefix, BATCH)? {
            role::stage_drop_parent(&mut batch, &heir, role)?;
        }
        Ok(batch)
    }

    /// Some of what grants or denies a deleted permission.
    fn rows_of_permission(&self, permission: Permission) -> Result<Batch> {
        let mut batch = Batch::new();
        for grant in self.slice::<AccessRecord>(ACCESS_BY_PERMISSION, &permission.bytes(), BATCH / 2)? {
            batch.remove(&grant);
        }
        self.each::<GrantChunk>(|chunk| {
            if batch.operations() < BATCH * 2 {
                role::stage_drop_bit(&mut batch, chunk, permission)?;
            }
            Ok(())
        })?;
        self.each::<DenyChunk>(|chunk| {
            if batch.operations() < BATCH * 2 {
                role::stage_drop_bit(&mut batch, chunk, permission)?;
            }
            Ok(())
        })?;
        Ok(batch)
    }

    /// Some of what lay in a deleted scope. What lies in it further down is deleted in turn, with a marker of its own,
    /// so that each step is small.
    fn rows_of_scope(&self, scope: ScopeId) -> Result<Batch> {
        let (mut batch, prefix) = (Batch::new(), scope.bytes());
        for assignment in self.slice::<AssignmentRecord>(ASSIGNMENT_BY_SCOPE, &prefix, BATCH / 2)? {
            batch.remove(&assignment);
        }
        if batch.operations() > 0 {
            return Ok(batch);
        }
        for grant in self.slice::<AccessRecord>(ACCESS_BY_SCOPE, &prefix, BATCH / 2)? {
            batch.remove(&grant);
        }
        if batch.operations() > 0 || self.stage_rules_off(&mut batch, FlagTarget::Scope(scope))? {
            return Ok(batch);
        }
        for child in self.slice::<ScopeRecord>(SCOPE_BY_NAME, &prefix, BATCH / 2)? {
            batch.remove(&child);
            batch.insert(&LeftoverRecord { what: Leftover::Scope(child.record.id), mark: 0 })?;
        }
        for role in self.slice::<RoleRecord>(ROLE_BY_NAME, &prefix, BATCH / 2)? {
            // A role can have 128 parents, each with an index row: it goes into a batch with little in it.
            if batch.operations() > BATCH {
                break;
            }
            batch.remove(&role);
            batch.insert(&LeftoverRecord { what: Leftover::Role(role.record.id), mark: 0 })?;
        }
        Ok(batch)
    }

    /// Stages some of the flag rules for a deleted target away; true if there are any.
    fn stage_rules_off(&self, batch: &mut Batch, target: FlagTarget) -> Result<bool> {
        for rule in self.slice::<FlagRuleRecord>(FLAG_RULE_BY_TARGET, &target.key().bytes(), BATCH / 2)? {
            batch.remove(&rule);
        }
        Ok(batch.operations() > 0)
    }

    /// Some of the rules of a deleted flag.
    fn rules_of_flag(&self, flag: Flag) -> Result<Batch> {
        let mut batch = Batch::new();
        for rule in self.slice::<FlagRuleRecord>(FlagRuleRecord::TABLE, &flag.bytes(), BATCH / 2)? {
            batch.remove(&rule);
        }
        Ok(batch)
    }

    /// Goes on in commits of so many rows at most, until there is no more to do or the budget is used up; what is planned
    /// stages one commit, and says how many rows it is of.
    pub(super) fn in_commits(
        &self,
        budget: usize,
        most: usize,
        mut plan_some: impl FnMut(&mut Plan<'_>, usize) -> Result<usize>,
    ) -> Result<usize> {
        let mut done = 0;
        while done < budget {
            let (count, _) = self.write(Actor::System, |plan| plan_some(plan, most.min(budget - done)))?;
            if count == 0 {
                break;
            }
            done += count;
        }
        Ok(done)
    }

    /// Removes assignments, direct grants and flag rules whose end has come, with one audit record a batch.
    pub(super) fn sweep_ended(&self, budget: usize) -> Result<usize> {
        // Five operations each at most.
        self.in_commits(budget, BATCH / 3, |plan, most| {
            let roles = stage_ended(plan, ASSIGNMENT_BY_END, most, |role: &AssignmentRecord, now| {
                role.terms.has_ended(now)
            })?;
            let grants = stage_ended(plan, ACCESS_BY_END, most, |grant: &AccessRecord, now| {
                grant.terms.has_ended(now)
            })?;
            let rules = stage_ended(plan, FLAG_RULE_BY_END, most, |rule: &FlagRuleRecord, now| {
                rule.terms.has_ended(now)
            })?;
            let count = roles.len() + grants.len() + rules.len();
            record_ended(plan, AuditKind::GrantsEnded, count, "grants")
        })
    }

    /// Removes spent challenges and open registrations whose time is over: bookkeeping without an audit record.
    pub(super) fn sweep_ceremonies(&self, budget: usize) -> Result<usize> {
        let mut removed = 0;
        // Spent ones stand in the order in which they expire; among the few that are open all are looked at.
        for prefix in [StateKey::SPENT, StateKey::OPEN] {
            let mut after: Option<Vec<u8>> = None;
            while removed < budget {
                let limit = BATCH.min(budget - removed);
                let scan = Scan { prefix: &[prefix], after: after.as_deref(), limit, descending: false };
                let (states, next) = store::page::<PasskeyState>(&*self.store, &scan)?;
                let mut batch = Batch::new();
                let over = |state: &&Stored<PasskeyState>| {
                    let margin = if prefix == StateKey::SPENT { KEEP_SPENT } else { Duration::ZERO };
                    state.record.expires().is_some_and(|expires| expires.saturating_add(margin) <= self.now())
                };
                let count = states.iter().filter(over).map(|state| batch.remove(state)).count();
                self.commit_or_skip(batch)?;
                removed += count;
                match next {
                    Some(next) if count > 0 || prefix == StateKey::OPEN => after = Some(next),
                    _ => break,
                }
            }
        }
        Ok(removed)
    }

    /// Some sessions that are of an older generation than their user.
    fn ended_sessions(&self, user: UserId) -> Result<Batch> {
        let mut batch = Batch::new();
        let Some(account) = store::read::<UserRecord>(&*self.store, &user)? else { return Ok(batch) };
        let prefix = user.bytes();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: BATCH, descending: false };
            let (sessions, next) = store::page_by::<SessionRecord>(&*self.store, SESSION_BY_USER, &scan)?;
            for session in sessions {
                if session.record.generation < account.record.generation {
                    batch.remove(&session);
                }
            }
            if batch.operations() > 0 || next.is_none() {
                return Ok(batch);
            }
            after = next;
        }
    }

    /// Removes sessions whose absolute end has come, with one audit record a batch.
    pub(super) fn sweep_expired(&self, budget: usize) -> Result<usize> {
        self.in_commits(budget, BATCH, |plan, most| {
            let over = |session: &SessionRecord, now| session.expires <= now;
            let sessions = stage_ended(plan, SESSION_BY_EXPIRY, most, over)?;
            record_ended(plan, AuditKind::SessionExpired, sessions.len(), "sessions")
        })
    }

    /// A conflict here means that somebody else changed or removed one of the rows: the next portion reads again.
    /// Returns whether the batch was committed.
    pub(super) fn commit_or_skip(&self, batch: Batch) -> Result<bool> {
        if batch.operations() == 0 {
            return Ok(true);
        }
        match self.store.commit(batch) {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    pub(super) fn slice<R: Record>(
        &self,
        table: Table,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Stored<R>>> {
        let scan = Scan { prefix, limit, ..Scan::default() };
        let (records, _) = if table == R::TABLE {
            store::page(&*self.store, &scan)?
        } else {
            store::page_by(&*self.store, table, &scan)?
        };
        Ok(records)
    }

    /// Every record of a type, in pages.
    pub(super) fn each<R: Record>(&self, mut visit: impl FnMut(&Stored<R>) -> Result<()>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let scan = Scan { prefix: &[], after: after.as_deref(), limit: 1024, descending: false };
            let (records, next) = store::page::<R>(&*self.store, &scan)?;
            records.iter().try_for_each(&mut visit)?;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }
}

/// Stages away those records at the beginning of an index by their ends that are over.
pub(super) fn stage_ended<R: Record>(
    plan: &mut Plan<'_>,
    by_end: Table,
    most: usize,
    is_over: impl Fn(&R, Timestamp) -> bool,
) -> Result<Vec<Stored<R>>> {
    let scan = Scan { limit: most, ..Scan::default() };
    let (mut found, _) = store::page_by::<R>(plan.store, by_end, &scan)?;
    let over = found.iter().take_while(|record| is_over(&record.record, plan.now)).count();
    found.truncate(over);
    found.iter().for_each(|record| plan.batch.remove(record));
    Ok(found)
}

/// Writes down that so many of them were removed, if any were.
pub(super) fn record_ended(plan: &mut Plan<'_>, kind: AuditKind, count: usize, of: &str) -> Result<usize> {
    if count > 0 {
        plan.record(kind, Entry::default().detail(format!("{count} {of} past their end")))?;
    }
    Ok(count)
}
