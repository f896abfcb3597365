//! Sessions as the memory knows them: last-seen times that are to be written back, and idle limits that are over.

use super::Engine;
use super::api_keys::key_of;
use super::view::ViewTime;
use super::write::Entry;
use crate::audit::{Actor, AuditKind};
use crate::error::Result;
use crate::id::SessionId;
use crate::session::SessionRecord;
use crate::store::{self, Batch};

/// Sessions that one batch removes or rewrites; each takes up to five operations.
const BATCH: usize = 32;
/// Pages of the view, of 64 sessions each, that are looked at in one go: some tens of microseconds.
const SPAN: u32 = 32;
/// Seconds beyond its idle limit after which a session is removed. Until then it is refused, and can be resumed by who
/// proves anew whose it is.
///
/// A request that was let in just before the limit may note its use some time after that, and the session goes on; a
/// removal must not be faster than such a request.
pub(super) const RESUMABLE: u32 = 3600;

impl Engine {
    /// Writes last-seen times back, several sessions to a commit: up to `budget` sessions among as many pages. Returns how
    /// many were written, and whether there are pages left in this round.
    pub(super) fn write_seen(&self, budget: usize) -> Result<(usize, bool)> {
        let (mut written, mut pages) = (0, 0);
        while written < budget && pages < budget {
            let (seen, is_last) = self.view.take_seen_among(BATCH.min(budget - written), SPAN);
            pages += SPAN as usize;
            if !seen.is_empty() {
                self.write_back(&seen)?;
                written += seen.len();
            }
            if is_last {
                return Ok((written, false));
            }
        }
        Ok((written, true))
    }

    /// Writes all last-seen times back that there are now.
    pub(super) fn write_all_seen(&self) -> Result<()> {
        // The first round may begin in the middle. Sessions are seen while this runs: a round passes each of them once.
        self.write_seen(usize::MAX)?;
        self.write_seen(usize::MAX)?;
        Ok(())
    }

    fn write_back(&self, seen: &[(SessionId, ViewTime)]) -> Result<()> {
        let mut batch = Batch::new();
        let staged = seen
            .iter()
            .try_for_each(|(session, at)| match key_of(*session) {
                Some(key) => self.stage_key_seen(&mut batch, key, at.timestamp()),
                None => self.stage_seen(&mut batch, *session, at.timestamp()),
            })
            .and_then(|()| self.commit_or_skip(batch));
        if !matches!(staged, Ok(true)) {
            for (session, _) in seen {
                self.view.note_seen(*session);
            }
        }
        staged.map(|_| ())
    }

    /// Removes sessions that are over by their idle limit, which are found in memory: up to `budget` and the rest of a
    /// page, among as many pages, with one audit record a batch. Returns how many were removed, and whether there are pages left in this round.
    pub(super) fn sweep_idle(&self, budget: usize) -> Result<(usize, bool)> {
        // One at a time; whoever comes second finds it being done.
        let Some(mut round) = self.idle_round.try_lock() else { return Ok((0, false)) };
        let (mut removed, mut pages) = (0, 0);
        while removed < budget && pages < budget {
            let (idle, next) =
                self.view.idle_sessions(*round, SPAN, BATCH.min(budget - removed), RESUMABLE, self.seconds());
            pages += SPAN as usize;
            *round = next.unwrap_or(0);
            for portion in idle.chunks(BATCH) {
                removed += self.remove_idle(portion)?;
            }
            if next.is_none() {
                return Ok((removed, false));
            }
        }
        Ok((removed, true))
    }

    fn remove_idle(&self, sessions: &[SessionId]) -> Result<usize> {
        let (removed, _) = self.write(Actor::System, |plan| {
            let (mut count, now) = (0, ViewTime::from(plan.now));
            for session in sessions {
                let Some(stored) = store::read::<SessionRecord>(plan.store, session)? else { continue };
                // INVARIANT: the row, which the commit expects unchanged, says that the session is over, and so does the
                // view, which alone knows uses that are not written back yet.
                if is_idle(&stored.record, now) && self.view.is_idle_beyond(*session, RESUMABLE, now) {
                    plan.batch.remove(&stored);
                    count += 1;
                }
            }
            if count > 0 {
                let entry = Entry::default().detail(format!("{count} sessions past their idle limit"));
                plan.record(AuditKind::SessionExpired, entry)?;
            }
            Ok(count)
        })?;
        Ok(removed)
    }
}

fn is_idle(session: &SessionRecord, now: ViewTime) -> bool {
    let end = u64::from(ViewTime::from(session.seen).secs()) + u64::from(session.idle_secs);
    session.idle_secs > 0 && end + u64::from(RESUMABLE) <= u64::from(now.secs())
}
