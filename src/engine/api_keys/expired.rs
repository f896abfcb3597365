//! Keys past their end, and the last use of those that live.

use crate::apikey::{API_KEY_BY_END, ApiKeyRecord};
use crate::audit::{Actor, AuditKind};
use crate::clock::Timestamp;
use crate::engine::write::Entry;
use crate::engine::{Engine, Verification};
use crate::error::Result;
use crate::id::{ApiKeyId, SessionId};
use crate::store::{self, Batch, Scan};

/// Keys that one batch removes; each takes five operations.
const BATCH: usize = 24;

impl Engine {
    /// Removes keys whose end has come, with one audit record a batch.
    pub(in crate::engine) fn sweep_keys(&self, budget: usize) -> Result<usize> {
        let mut removed = 0;
        while removed < budget {
            let ((count, moved), _) = self.write(Actor::System, |plan| {
                let scan = Scan { limit: BATCH.min(budget - removed), ..Scan::default() };
                let (keys, _) = store::page_by::<ApiKeyRecord>(plan.store, API_KEY_BY_END, &scan)?;
                let (mut count, mut moved) = (0, 0);
                for key in keys.iter().take_while(|key| key.record.end().is_some_and(|end| end <= plan.now)) {
                    let id = key.record.id;
                    match self.view.key_seen(id, self.seconds()) {
                        // It was used since its row was written, and is not idle.
                        Some(seen) => {
                            let used = Some(seen.timestamp().max(key.record.created));
                            plan.batch.replace(key, &ApiKeyRecord { used, ..key.record.clone() })?;
                            moved += 1;
                        }
                        None => {
                            plan.batch.remove(key);
                            count += 1;
                        }
                    }
                }
                if count > 0 {
                    let entry = Entry::default().detail(format!("{count} API keys past their end"));
                    plan.record(AuditKind::ApiKeysExpired, entry)?;
                }
                Ok((count, moved))
            })?;
            if count + moved == 0 {
                break;
            }
            removed += count + moved;
        }
        Ok(removed)
    }

    /// Stages the last use of a key, if it is later than the stored one.
    pub(in crate::engine) fn stage_key_seen(
        &self,
        batch: &mut Batch,
        key: ApiKeyId,
        seen: Timestamp,
    ) -> Result<()> {
        let Some(old) = store::read::<ApiKeyRecord>(&*self.store, &key)? else { return Ok(()) };
        let seen = seen.max(old.record.created);
        if old.record.used.is_none_or(|used| seen > used) {
            batch.replace(&old, &ApiKeyRecord { used: Some(seen), ..old.record.clone() })?;
        }
        Ok(())
    }
}

impl Engine {
    /// The keys of the view against those of the store.
    pub(in crate::engine) fn verify_keys(&self, found: &mut Verification) -> Result<()> {
        let mut keys = 0;
        self.each::<ApiKeyRecord>(|key| {
            keys += 1;
            if !self.view.agrees_on_key(&key.record) {
                found.problem(format_args!("view: {} is not as its record says", key.record.id));
            }
            Ok(())
        })?;
        let known = self.view.stats().keys;
        if known != keys {
            found.problem(format_args!("view: {known} API keys where {keys} are due"));
        }
        Ok(())
    }
}

/// The key of a line, where it is one of a key.
pub(in crate::engine) fn key_of(line: SessionId) -> Option<ApiKeyId> {
    (line.get() & ApiKeyId::MARK != 0).then(|| ApiKeyId::from_number(line.get()))
}
