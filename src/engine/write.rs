//! The one write path: plan from fresh reads, commit with the audit record, plan again if somebody was faster.

use super::Engine;
use super::bookkeeping::{Leftover, LeftoverRecord};
use crate::audit::{self, Actor, AuditKind, Body, Outcome, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Stamp;
use crate::secret::random;
use crate::store::{Batch, CommitError, OperationId, Store};
use std::time::Duration;

/// How often a change is planned anew before the caller hears of the conflict.
const ATTEMPTS: usize = 64;
/// How often a change is planned before it waits for its turn, and how long it waits each time.
const FREE_ATTEMPTS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(200);

/// One change while it is planned.
pub(crate) struct Plan<'e> {
    pub(crate) store: &'e dyn Store,
    pub(crate) batch: Batch,
    pub(crate) now: Timestamp,
    pub(crate) actor: Actor,
    operation: OperationId,
}

/// What the audit log is to say of a change.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) subject: Option<Subject>,
    pub(crate) object: Option<Subject>,
    pub(crate) detail: String,
}

impl Entry {
    pub(crate) fn of(subject: Subject) -> Self {
        Self { subject: Some(subject), ..Self::default() }
    }

    pub(crate) fn and(mut self, object: Subject) -> Self {
        self.object = Some(object);
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl Plan<'_> {
    /// Puts the audit record of a done change into the batch of that change.
    pub(crate) fn record(&mut self, kind: AuditKind, entry: Entry) -> Result<()> {
        self.record_outcome(kind, Outcome::Success, self.actor, entry)
    }

    pub(crate) fn record_outcome(
        &mut self,
        kind: AuditKind,
        outcome: Outcome,
        actor: Actor,
        entry: Entry,
    ) -> Result<()> {
        let Entry { subject, object, detail } = entry;
        let (time, operation) = (self.now, self.operation);
        audit::stage(&mut self.batch, Body { time, operation, actor, subject, object, kind, outcome, detail })
    }

    /// Remembers, in the same commit, rows that are to be swept after it.
    pub(crate) fn leave(&mut self, what: Leftover) -> Result<LeftoverRecord> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any 64 of the 128 random bits tell two markers apart"
        )]
        let record = LeftoverRecord { what, mark: self.operation as u64 };
        self.batch.insert(&record)?;
        Ok(record)
    }
}

impl Engine {
    /// Plans a change and commits it. The plan runs again, from fresh reads, when what it read has changed; one that
    /// stages nothing commits nothing.
    ///
    /// Returns what the plan returned, and the stamp of the rows that the commit wrote.
    pub(crate) fn write<T>(
        &self,
        actor: Actor,
        mut plan: impl FnMut(&mut Plan<'_>) -> Result<T>,
    ) -> Result<(T, Stamp)> {
        for attempt in 0..ATTEMPTS {
            // Writers that keep making each other plan again go on in turn. Taking the turn is an aid and no lock: who
            // does not get it in time goes on without, so that nothing called from a plan can wait for itself.
            let _turn = (attempt >= FREE_ATTEMPTS).then(|| self.turns.try_lock_for(PATIENCE));
            let operation = u128::from_be_bytes(*random::<16>(&*self.entropy)?);
            let mut staged =
                Plan { store: &*self.store, batch: Batch::new(), now: self.now(), actor, operation };
            let value = plan(&mut staged)?;
            if staged.batch.operations() == 0 {
                return Ok((value, self.store.now().into()));
            }
            match self.store.commit(staged.batch) {
                Ok(version) => return Ok((value, version.into())),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Failed(error)) if error.kind() == ErrorKind::OutcomeUnknown => {
                    return Err(Error::new(
                        ErrorKind::OutcomeUnknown,
                        format!("{error}; then look for operation {operation:032x} in the audit log"),
                    )
                    .caused_by(error));
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("other writers changed the same records {ATTEMPTS} times in a row; try again"),
        ))
    }
}
