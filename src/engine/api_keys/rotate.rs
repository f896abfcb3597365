//! A new key in the place of an old one, which lives on for a while.

use super::{ApiKeys, IssuedApiKey, MOST_WITH_REPLACED, described, entry_of, expect_owner};
use crate::apikey::{self, ApiKeyRecord, LONGEST_OVERLAP};
use crate::audit::AuditKind;
use crate::crypto::ApiKeyToken;
use crate::engine::events::{Event, EventKind};
use crate::engine::{assignments, warrant};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ApiKeyId;
use std::time::Duration;

impl ApiKeys<'_> {
    /// Makes a key of the same name, limits and length of life in the place of this one, which ends after the overlap, or at
    /// its own end where that is sooner: so that a program can be given the new one while the old one still works. The
    /// overlap is at most 30 days; without one the old key ends at once. Each of the two has a rate of its own.
    ///
    /// # Errors
    /// `NotFound` for a key that has ended; `Conflict` for one that was replaced already; `InvalidInput` for an overlap that
    /// is too long; `LimitExceeded` where the owner has two hundred keys with those that were replaced; the storage kinds.
    pub fn rotate(&self, id: ApiKeyId, overlap: Duration) -> Result<IssuedApiKey> {
        if overlap > LONGEST_OVERLAP {
            let message = format!("is {overlap:?}; the old key can live on for 30 days at most");
            return Err(Error::invalid("overlap", message));
        }
        let engine = self.gate.engine();
        let ((token, record), _) = engine.write(self.gate.actor(), |plan| {
            let old = engine.read_live_key(plan, id)?;
            let owner = old.record.owner;
            expect_owner(plan, owner)?;
            warrant::may_administer(plan, owner, "replace an API key")?;
            if let Some(by) = old.record.replaced_by {
                let message = format!("{id} was replaced by {by} already; replace that one");
                return Err(Error::new(ErrorKind::Conflict, message).with_field("key"));
            }
            let (token, new, digest) = ApiKeyToken::mint(&*engine.entropy)?;
            let life = old.record.life_secs.map(|secs| Duration::from_secs(secs.into()));
            let record = ApiKeyRecord {
                id: new,
                digest: digest.0,
                created: plan.now,
                created_by: assignments::giver(plan.actor),
                expires: life.map(|life| plan.now.saturating_add(life)),
                used: None,
                ..old.record.clone()
            };
            apikey::stage_key(plan.store, &mut plan.batch, &record, MOST_WITH_REPLACED, true, plan.now)?;
            apikey::stage_replaced(&mut plan.batch, &old, new, plan.now.saturating_add(overlap))?;
            let detail = format!("in the place of {id} after {overlap:?}; {}", described(&record));
            plan.record(AuditKind::ApiKeyRotated, entry_of(&record, super::shortened(detail)))?;
            plan.notify(Event::of(owner, EventKind::ApiKeyCreated(new)));
            Ok((token, record))
        })?;
        Ok(IssuedApiKey { key: record.into(), token })
    }
}
