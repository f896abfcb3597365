//! The one write path: plan from fresh reads, commit with the audit record, plan again if somebody was faster.

use super::bookkeeping::{Leftover, LeftoverRecord, SEQUENCE};
use super::events::Event;
use super::{Engine, Portcullis};
use crate::audit::{self, Actor, AuditKind, Body, Outcome, Subject};
use crate::clock::Timestamp;
use crate::crypto::trial;
use crate::error::{Denial, Error, ErrorKind, Result};
use crate::id::{Stamp, UserId};
use crate::secret::random;
use crate::store::{Batch, CommitError, Expect, OperationId, Store};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often a change is planned anew before the caller hears of the conflict.
const ATTEMPTS: usize = 64;
/// How often a change is planned before it waits for its turn, and how long it waits each time.
const FREE_ATTEMPTS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(200);

/// In whose name a change is made, and whether that user's delegations must cover it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mandate {
    pub(crate) actor: Actor,
    pub(crate) delegated: bool,
    /// Who acts as the actor, where somebody else does.
    pub(crate) impersonator: Option<UserId>,
}

impl Mandate {
    /// To write down what was tried and refused.
    pub(super) const fn for_the_log(self) -> Self {
        Self { delegated: false, ..self }
    }
}

impl From<Actor> for Mandate {
    fn from(actor: Actor) -> Self {
        Self { actor, delegated: false, impersonator: None }
    }
}

/// Whether a change may be made in its actor's name.
enum Warrant {
    NotNeeded,
    /// It must be shown before the commit, or there is none: what nobody thought of is refused.
    Due,
    Shown,
    /// What the audit log is to say of the refusal.
    Refused(Entry),
}

/// One change while it is planned.
pub(crate) struct Plan<'e> {
    pub(crate) store: &'e dyn Store,
    pub(crate) batch: Batch,
    pub(crate) now: Timestamp,
    pub(crate) actor: Actor,
    /// Who acts as the actor, where somebody else does.
    pub(crate) impersonator: Option<UserId>,
    operation: OperationId,
    warrant: Warrant,
    /// Whether the change, which conflicts with nothing itself, makes others plan again: it goes in turn with them while
    /// they try in vain.
    pub(crate) gives_way: bool,
    /// What is to be told once the change is committed.
    pub(super) events: Vec<Event>,
    /// What the plan wrote down last.
    pub(super) recorded: Option<(AuditKind, Option<Subject>, Option<Subject>)>,
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
        self.recorded = Some((kind, subject, object));
        self.refuse_what_is_the_users(kind, subject)?;
        let (time, operation) = (self.now, self.operation);
        let impersonator = self.impersonator.filter(|_| actor == self.actor);
        audit::stage(
            &mut self.batch,
            Body { time, operation, actor, impersonator, subject, object, kind, outcome, detail },
        )
    }

    /// Whether the change must be covered by a delegation of the actor.
    pub(crate) fn is_delegated(&self) -> bool {
        !matches!(self.warrant, Warrant::NotNeeded)
    }

    /// The change is covered, by rows that the batch expects.
    pub(crate) fn show_warrant(&mut self) {
        if matches!(self.warrant, Warrant::Due) {
            self.warrant = Warrant::Shown;
        }
    }

    /// The change is not covered: nothing of it is committed, and the entry goes into the audit log by itself.
    pub(crate) fn refuse(&mut self, tried: Entry) -> Error {
        self.warrant = Warrant::Refused(tried);
        Error::denied(Denial::Delegation)
    }

    /// Refuses a plan that has staged something without having shown that it may.
    fn check_warrant(&mut self) -> Result<()> {
        match self.warrant {
            Warrant::NotNeeded | Warrant::Shown => return Ok(()),
            Warrant::Due if self.batch.operations() == 0 => return Ok(()),
            Warrant::Due => {}
            Warrant::Refused(_) => return Err(Error::denied(Denial::Delegation)),
        }
        let mut tried = Entry::default().detail("no delegation covers such a change");
        if let Some((kind, subject, object)) = self.recorded {
            tried.detail = format!("{kind}: {}", tried.detail);
            (tried.subject, tried.object) = (subject, object);
        }
        Err(self.refuse(tried))
    }

    /// A number by which a marker of this change is told from those of others.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "any 64 of the 128 random bits tell two markers apart"
    )]
    pub(crate) const fn mark(&self) -> u64 {
        self.operation as u64
    }

    /// Remembers, in the same commit, rows that are to be swept after it.
    pub(crate) fn leave(&mut self, what: Leftover) -> Result<LeftoverRecord> {
        let record = LeftoverRecord { what, mark: self.mark() };
        self.batch.insert(&record)?;
        Ok(record)
    }
}

/// The turn of writers that meet too often.
///
/// It is an aid and no lock: who does not get it in time goes on without, so that nothing called from a plan can wait for
/// itself.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turn: Mutex<()>,
    /// How many wait for their turn, or have it.
    waiting: AtomicUsize,
}

/// A place in the turn, held or not, until it is dropped.
struct Place<'t> {
    _turn: Option<MutexGuard<'t, ()>>,
    waiting: &'t AtomicUsize,
}

impl Turns {
    fn wait(&self, patience: Duration) -> Place<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Place { _turn: self.turn.try_lock_for(patience), waiting: &self.waiting }
    }

    /// Goes in turn with those who wait, if any does. For a change that makes others plan again, and is never made to
    /// itself: without this, enough of them would keep the others from ever coming through.
    fn give_way(&self, patience: Duration) -> Option<MutexGuard<'_, ()>> {
        (self.waiting.load(Ordering::Relaxed) > 0).then(|| self.turn.try_lock_for(patience)).flatten()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Plans a change and commits it. The plan runs again, from fresh reads, when what it read has changed; one that
    /// stages nothing commits nothing.
    ///
    /// Returns what the plan returned, and the stamp of the rows that the commit wrote.
    pub(crate) fn write<T>(
        &self,
        by: impl Into<Mandate>,
        mut plan: impl FnMut(&mut Plan<'_>) -> Result<T>,
    ) -> Result<(T, Stamp)> {
        let by = by.into();
        for attempt in 0..ATTEMPTS {
            // Writers that keep making each other plan again go on in turn.
            let waiting = (attempt >= FREE_ATTEMPTS).then(|| self.turns.wait(PATIENCE));
            let mut staged = self.plan_of(by)?;
            let operation = staged.operation;
            let planned = plan(&mut staged).and_then(|value| {
                staged.refuse_what_would_be_told()?;
                staged.check_warrant().map(|()| value)
            });
            let value = match (planned, staged.warrant) {
                (Ok(value), _) => value,
                (Err(_), Warrant::Refused(tried)) => {
                    return Err(self.refusal(by, AuditKind::DelegationRefused, tried));
                }
                (Err(error), _) if error.denial() == Some(Denial::Impersonated) => {
                    return Err(self.refused_as_somebody(by, staged.recorded));
                }
                (Err(error), _) => {
                    self.catch_up();
                    return Err(error);
                }
            };
            if staged.batch.operations() == 0 {
                self.catch_up();
                return Ok((value, self.store.now().into()));
            }
            let _behind = (waiting.is_none() && staged.gives_way).then(|| self.turns.give_way(PATIENCE));
            trial::commits();
            match self.store.commit(staged.batch) {
                Ok(version) => {
                    self.events.publish(&staged.events);
                    return Ok((value, version.into()));
                }
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

    /// Waits until the view has all that a plan may have read.
    ///
    /// A commit can be read from the store a moment before the view has it. Whoever is told that a change was made already
    /// must not find it missing in the next check, just as if they had made it. A batch that can not be committed is
    /// answered after all that came before it, and costs no disk.
    fn catch_up(&self) {
        let mut fence = Batch::new();
        fence.expect(SEQUENCE, vec![u8::MAX], Expect::Present);
        // No answer but a conflict is possible while the store runs, and a store that has stopped answers every check so.
        let _ = self.store.commit(fence);
    }

    /// Plans a change of the application's and commits nothing: whether it would be refused, and how.
    pub(super) fn try_out<T>(&self, plan: impl FnOnce(&mut Plan<'_>) -> Result<T>) -> Result<T> {
        plan(&mut self.plan_of(Actor::System.into())?)
    }

    fn plan_of(&self, by: Mandate) -> Result<Plan<'_>> {
        let Mandate { actor, delegated, impersonator } = by;
        Ok(Plan {
            store: &*self.store,
            batch: Batch::new(),
            now: self.now(),
            actor,
            impersonator,
            operation: u128::from_be_bytes(*random::<16>(&*self.entropy)?),
            warrant: if delegated { Warrant::Due } else { Warrant::NotNeeded },
            gives_way: false,
            events: Vec::new(),
            recorded: None,
        })
    }

    /// Writes the refusal of a change into the audit log, in a commit of its own.
    pub(super) fn refusal(&self, by: Mandate, kind: AuditKind, tried: Entry) -> Error {
        let Entry { subject, object, detail } = tried;
        let written = self.write(by.for_the_log(), |plan| {
            let entry = Entry { subject, object, detail: detail.clone() };
            plan.record_outcome(kind, Outcome::Denied, plan.actor, entry)
        });
        let denial = match kind {
            AuditKind::DelegationRefused => Denial::Delegation,
            _ => Denial::Impersonated,
        };
        // Nothing was changed either way; that the log could not be written is the worse news.
        written.map_or_else(|error| error, |_| Error::denied(denial))
    }
}

impl Portcullis {
    /// Checks a delegated change before work that is dear; the plan of the change checks again.
    pub(super) fn rehearse(&self, check: impl Fn(&mut Plan<'_>) -> Result<()>) -> Result<()> {
        if self.delegated {
            self.engine().write(self.actor(), |plan| {
                check(plan)?;
                plan.batch = Batch::new();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What is for the application alone, and writes nothing of its own by which it could be told.
    pub(super) fn refuse_delegated(&self, what: &str) -> Result<()> {
        self.rehearse(|plan| Err(plan.refuse(Entry::default().detail(what))))
    }
}
