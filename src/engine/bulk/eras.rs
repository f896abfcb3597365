//! The end of every session: another era begins. What is left of those of earlier eras has no effect and is swept.

use super::{Ending, EndingRecord};
use crate::audit::AuditKind;
use crate::engine::Engine;
use crate::engine::sweep::BATCH;
use crate::engine::write::{Entry, Mandate, Plan};
use crate::error::Result;
use crate::id::{Key, SessionId};
use crate::session::{self, SessionRecord};
use crate::store::{self, Batch, Scan};

/// Rows that whoever ends an era looks at itself before the call returns.
const SWEEP_AFTER: usize = 256;

impl Engine {
    /// Ends every session, in one small commit.
    pub(in crate::engine) fn begin_era(&self, by: Mandate, detail: &str) -> Result<()> {
        loop {
            let era = session::era(&*self.store)?;
            if session::comes_again(session::next_era(era)) && !self.only_era(era)? {
                continue;
            }
            let (begun, _) = self.write(by, |plan| {
                // Somebody else may have ended it, and the next one may ask for what is not done yet.
                if session::era(plan.store)? != era {
                    return Ok(false);
                }
                session::stage_next_era(plan.store, &mut plan.batch)?;
                stage_marker(plan)?;
                plan.record(AuditKind::SessionsRevoked, Entry::default().detail(detail))?;
                Ok(true)
            })?;
            if begun {
                break;
            }
        }
        // The change is committed and acknowledged whatever happens here.
        let _ = self.sweep_eras(SWEEP_AFTER);
        Ok(())
    }

    /// Removes everything that is left of sessions of other eras than this one, the present one. False where it ended
    /// meanwhile.
    fn only_era(&self, era: u16) -> Result<bool> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let Some(next) = self.sweep_page(after.as_deref(), BATCH)? else { continue };
            if session::era(&*self.store)? != era {
                return Ok(false);
            }
            match next.last {
                Some(last) => after = Some(last),
                None => return Ok(true),
            }
        }
    }

    /// Removes some of what is left of sessions of earlier eras, among so many rows; how many.
    pub(in crate::engine) fn sweep_eras(&self, budget: usize) -> Result<usize> {
        let Some(_turn) = self.bulk.try_lock() else { return Ok(0) };
        let Some(marker) = store::read::<EndingRecord>(&*self.store, &EndingRecord::ERAS)? else {
            return Ok(0);
        };
        let Ending::Eras(from) = &marker.record.what else { return Ok(0) };
        let mut after = from.map(|id| id.bytes());
        let (mut looked, mut removed) = (0, 0);
        let mut batch = Batch::new();
        while looked < budget {
            let limit = BATCH.min(budget - looked);
            looked += limit;
            let Some(page) = self.sweep_page(after.as_deref(), limit)? else { continue };
            removed += page.removed;
            match page.last {
                Some(last) => after = Some(last),
                None => {
                    batch.remove(&marker);
                    self.commit_or_skip(batch)?;
                    return Ok(removed);
                }
            }
        }
        let reached = after.as_deref().map(SessionId::read).transpose()?;
        batch.replace(&marker, &EndingRecord { what: Ending::Eras(reached), ..marker.record.clone() })?;
        self.commit_or_skip(batch)?;
        Ok(removed)
    }

    /// Removes what is of another era among some rows; none where somebody else has changed one of them.
    fn sweep_page(&self, after: Option<&[u8]>, limit: usize) -> Result<Option<Swept>> {
        let scan = Scan { prefix: &[], after, limit, descending: false };
        let mut batch = Batch::new();
        // INVARIANT: expected unchanged, so that none is removed of an era that has come again.
        let era = session::expect_era(&*self.store, &mut batch)?;
        let (sessions, last) = store::page::<SessionRecord>(&*self.store, &scan)?;
        let over = sessions.iter().filter(|session| !session::is_of_era(session.record.era, era));
        let removed = over.map(|session| batch.remove(session)).count();
        let done = removed == 0 || self.commit_or_skip(batch)?;
        Ok(done.then_some(Swept { removed, last }))
    }
}

struct Swept {
    removed: usize,
    /// The last row that was looked at, where there may be more.
    last: Option<Vec<u8>>,
}

/// One marker for all eras; another end has all rows looked at once more.
fn stage_marker(plan: &mut Plan<'_>) -> Result<()> {
    let new = EndingRecord { what: Ending::Eras(None), mark: plan.mark(), until: plan.now };
    match store::read::<EndingRecord>(plan.store, &EndingRecord::ERAS)? {
        Some(old) => plan.batch.replace(&old, &new),
        None => plan.batch.insert(&new),
    }
}
