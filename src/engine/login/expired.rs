//! Logins under way that nobody went on with.

use crate::audit::{Actor, AuditKind, Subject};
use crate::challenge::{CHALLENGE_BY_EXPIRY, ChallengeRecord};
use crate::engine::Engine;
use crate::engine::write::Entry;
use crate::error::Result;
use crate::store::{self, Scan};

/// Challenges that one batch removes; each takes five operations, and its audit record six.
const BATCH: usize = 12;

impl Engine {
    /// Removes logins under way whose end has come, with an audit record for each: that somebody knew the password and
    /// not the second factor is worth a look (OWASP ASVS 5.0 6.3.5).
    pub(in crate::engine) fn sweep_challenges(&self, budget: usize) -> Result<usize> {
        let mut removed = 0;
        while removed < budget {
            let (count, _) = self.write(Actor::System, |plan| {
                let scan = Scan { limit: BATCH.min(budget - removed), ..Scan::default() };
                let (found, _) = store::page_by::<ChallengeRecord>(plan.store, CHALLENGE_BY_EXPIRY, &scan)?;
                let mut count = 0;
                let now = plan.now;
                for challenge in found.iter().take_while(|found| found.record.expires <= now) {
                    plan.batch.remove(challenge);
                    let detail = format!("after {}", challenge.record.methods);
                    let entry = Entry::of(Subject::User(challenge.record.user)).detail(detail);
                    plan.record(AuditKind::LoginAbandoned, entry)?;
                    count += 1;
                }
                Ok(count)
            })?;
            if count == 0 {
                break;
            }
            removed += count;
        }
        Ok(removed)
    }
}
