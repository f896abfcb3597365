//! Logins under way that nobody went on with.

use crate::audit::{AuditKind, Subject};
use crate::challenge::{CHALLENGE_BY_EXPIRY, ChallengeRecord, Step};
use crate::engine::Engine;
use crate::engine::events::{Event, EventKind};
use crate::engine::sweep::stage_ended;
use crate::engine::write::Entry;
use crate::error::Result;

/// Challenges that one batch removes; each takes five operations, and its audit record six.
const BATCH: usize = 12;

impl Engine {
    /// Removes logins under way whose end has come, with an audit record for each: that somebody knew the password and
    /// not the second factor is worth a look (OWASP ASVS 5.0 6.3.5).
    pub(in crate::engine) fn sweep_challenges(&self, budget: usize) -> Result<usize> {
        self.in_commits(budget, BATCH, |plan, most| {
            let over = |challenge: &ChallengeRecord, now| challenge.expires <= now;
            let abandoned = stage_ended(plan, CHALLENGE_BY_EXPIRY, most, over)?;
            for challenge in abandoned.iter().map(|challenge| &challenge.record) {
                let entry = Entry::of(Subject::User(challenge.user));
                plan.record(AuditKind::LoginAbandoned, entry.detail(format!("after {}", challenge.methods)))?;
                if challenge.step == Step::Factor {
                    plan.notify(Event::of(challenge.user, EventKind::PartialLogin(challenge.methods)));
                }
            }
            Ok(abandoned.len())
        })
    }
}
