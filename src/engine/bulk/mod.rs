//! Ending many sessions that no single row stands for.
//!
//! They may be more than fit in a commit. So the first commit is small and writes a marker with what is meant and the
//! present instant; the sessions end in commits of some each; and the last one removes the marker. Whoever finds a marker
//! goes on where it was left: the open before it hands out the database, and maintenance.
//!
//! INVARIANT: when the call returns, no session is left that is meant and was committed before the marker. Which those are
//! is settled by the marker's commit: it writes over the row of the era, which whoever opens a session expects unchanged. So
//! a login that was planned before it and comes after it is planned again, and its session is one that was opened later.

mod eras;
mod record;
mod scope;
#[cfg(test)]
mod tests;

pub(crate) use record::EndingRecord;

use super::sessions::Sessions;
use super::timeline::STEP_MILLIS;
use super::warrant;
use super::write::{Entry, Mandate, Plan};
use super::{Engine, sweep};
use crate::audit::{Actor, AuditKind};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{Key, SessionId};
use crate::session::{self, SESSION_BY_USER, Session, SessionFilter, SessionRecord};
use crate::store::{self, Record, Scan, Store, Stored, Table};
use record::{Ending, SESSION_ENDING};
use std::time::Duration;

pub(super) const TABLES: &[Table] = &[SESSION_ENDING];

/// Sessions that are looked at in one go.
const PAGE: usize = 256;

impl Sessions<'_> {
    /// Ends every session that matches and was opened before this call; how many that were live. Once it has returned, no
    /// such session is accepted.
    ///
    /// It reads every session, or every one of the user where the filter names one, and ends them in commits of some each,
    /// after a small one that says what is to end: so after a crash half-way the next open ends the others before it
    /// hands out the database, and after an error [`maintain`](crate::Portcullis::maintain) does. A session that is opened
    /// while this runs may live on, and so may what a login under way will open; where that is not wanted, change what
    /// lets them in first. Calls of this sort go one after the other.
    ///
    /// Uses that are not written back yet count for [`SessionFilter::seen_before`], but for those that a crash has lost.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that says nothing, or breaks a rule; `Denied` for a delegated handle that may not administer
    /// the one user that the filter names, or where it names none; the storage kinds.
    pub fn revoke_matching(&self, filter: &SessionFilter) -> Result<usize> {
        filter.check()?;
        let (engine, by) = (self.gate.engine(), self.gate.actor());
        engine.end_in_bulk(by, &Ending::Matching(filter.clone()), &format!("those {filter}"), |plan| {
            match filter.of_user() {
                Some(user) if plan.is_delegated() => {
                    warrant::may_administer(plan, user, "revoke matching sessions")
                }
                None if plan.is_delegated() => {
                    Err(plan.refuse(Entry::default().detail("revoke sessions of several users")))
                }
                _ => Ok(()),
            }
        })
    }

    /// How many live sessions match: what [`revoke_matching`](Self::revoke_matching) would end now. It reads as much as that.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that says nothing, or breaks a rule; the storage kinds.
    pub fn count_matching(&self, filter: &SessionFilter) -> Result<usize> {
        filter.check()?;
        let (engine, mut count) = (self.gate.engine(), 0);
        engine.each_matching(filter, None, |found| {
            count += found.into_iter().filter_map(|session| engine.live(session)).count();
            Ok(())
        })?;
        Ok(count)
    }
}

impl Engine {
    /// Writes the marker, ends what it says, and removes it.
    fn end_in_bulk(
        &self,
        by: Mandate,
        what: &Ending,
        told: &str,
        allowed: impl Fn(&mut Plan<'_>) -> Result<()>,
    ) -> Result<usize> {
        let _turn = self.bulk.lock();
        let (marker, _) = self.write(by, |plan| {
            allowed(plan)?;
            session::stage_same_era(plan.store, &mut plan.batch)?;
            // The time may go back by so much, and what is there already is meant.
            let until = plan.now.saturating_add(Duration::from_millis(STEP_MILLIS));
            let marker = EndingRecord { what: what.clone(), mark: plan.mark(), until };
            plan.batch.insert(&marker)?;
            let entry = Entry::default().detail(format!("{:016x}: {told}", marker.mark));
            plan.record(AuditKind::SessionsEndRequested, entry)?;
            Ok(marker)
        })?;
        self.finish_ending(by.actor, &marker)
    }

    /// Ends what a marker says that is not ended yet; how many sessions.
    fn finish_ending(&self, by: Actor, marker: &EndingRecord) -> Result<usize> {
        let ended = match &marker.what {
            Ending::Matching(filter) => self.end_matching(by, filter, marker.until)?,
            Ending::AtScope(scope) => self.end_at_scope(by, *scope, marker.until)?,
            Ending::Eras(_) => return Ok(0),
        };
        self.write(by, |plan| {
            let Some(stored) = store::read::<EndingRecord>(plan.store, &marker.key())? else { return Ok(()) };
            plan.batch.remove(&stored);
            let detail = format!("{:016x}: all that were asked for; {ended} ended now", marker.mark);
            plan.record(AuditKind::SessionsRevoked, Entry::default().detail(detail))
        })?;
        Ok(ended)
    }

    /// Goes on with what a crash or an error has left, to the end; how many sessions ended.
    pub(super) fn finish_endings(&self) -> Result<usize> {
        // Whoever has the turn finishes its own, and what is left beside it comes next time.
        let Some(_turn) = self.bulk.try_lock() else { return Ok(0) };
        let mut ended = 0;
        for kind in EndingRecord::DUE {
            loop {
                let markers = self.slice::<EndingRecord>(SESSION_ENDING, &[kind], sweep::BATCH)?;
                if markers.is_empty() {
                    break;
                }
                for marker in markers {
                    ended += self.finish_ending(Actor::System, &marker.record)?;
                }
            }
        }
        Ok(ended)
    }

    /// What maintenance does here.
    pub(super) fn sweep_endings(&self, budget: usize) -> Result<usize> {
        let ended = self.finish_endings()?;
        Ok(ended.saturating_add(self.sweep_eras(budget)?))
    }

    /// Whether there is something left that nobody is about to do.
    pub(super) fn has_endings(&self) -> Result<bool> {
        Ok(!self.bulk.is_locked() && !self.slice::<EndingRecord>(SESSION_ENDING, &[], 1)?.is_empty())
    }

    fn end_matching(&self, by: Actor, filter: &SessionFilter, until: Timestamp) -> Result<usize> {
        let mut ended = 0;
        self.each_matching(filter, Some(until), |found| {
            let found: Vec<SessionId> = found.iter().map(|session| session.record.id).collect();
            for some in found.chunks(sweep::BATCH) {
                ended += self.end_some(by, filter, some)?;
            }
            Ok(())
        })?;
        Ok(ended)
    }

    /// The sessions that match and were opened until then, live or not, a page at a time.
    fn each_matching(
        &self,
        filter: &SessionFilter,
        until: Option<Timestamp>,
        mut visit: impl FnMut(Vec<Stored<SessionRecord>>) -> Result<()>,
    ) -> Result<()> {
        let prefix = filter.of_user().map(|user| user.bytes()).unwrap_or_default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE, descending: false };
            let (sessions, next) = match filter.of_user() {
                Some(_) => store::page_by::<SessionRecord>(&*self.store, SESSION_BY_USER, &scan)?,
                None => store::page::<SessionRecord>(&*self.store, &scan)?,
            };
            let meant = sessions.into_iter().filter(|session| {
                let session = &session.record;
                until.is_none_or(|until| !self.came_later(session.created, until))
                    && self.is_meant(filter, session)
            });
            visit(meant.collect())?;
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Whether something was begun after that instant, and not at a time that is still to come, which the clock can only have
    /// shown before it was set back.
    fn came_later(&self, began: Timestamp, until: Timestamp) -> bool {
        began > until && began <= self.now()
    }

    /// The last use may be known to the view alone; all else comes from the row.
    fn is_meant(&self, filter: &SessionFilter, session: &SessionRecord) -> bool {
        let seen = self.view.session(session.id).map(|line| line.seen.timestamp());
        let mut session = Session::from(session.clone());
        session.last_seen = seen.map_or(session.last_seen, |seen| session.last_seen.max(seen));
        filter.matches(&session)
    }

    /// Ends those of them that still match; how many of them were live.
    ///
    /// One that is not live is removed all the same: who proves anew who they are can resume one that has gone idle.
    fn end_some(&self, by: Actor, filter: &SessionFilter, some: &[SessionId]) -> Result<usize> {
        let (ended, _) = self.write(by, |plan| {
            let mut ended = 0;
            for id in some {
                let Some(stored) = store::read::<SessionRecord>(plan.store, id)? else { continue };
                if self.is_meant(filter, &stored.record) {
                    ended += usize::from(self.live(stored.clone()).is_some());
                    plan.batch.remove(&stored);
                }
            }
            Ok(ended)
        })?;
        Ok(ended)
    }
}

/// Whether a session is one that has not been ended with others, by its user's generation and the era.
fn is_current(store: &dyn Store, session: &SessionRecord, generation: u32) -> Result<bool> {
    Ok(session.generation >= generation && session::is_of_era(session.era, session::era(store)?))
}
