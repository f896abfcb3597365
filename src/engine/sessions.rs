//! Sessions: list them, end them.

use super::bookkeeping::Leftover;
use super::page::{Page, PageRequest};
use super::view::{Answer, ViewTime};
use super::warrant;
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Key, SessionId, UserId};
use crate::session::{self, SESSION_BY_EXPIRY, SESSION_BY_USER, Session, SessionRecord};
use crate::store::{self, Stored, Table};
use crate::user;

/// Lists and revokes sessions; get it from [`Portcullis::sessions`].
///
/// A revoked session is refused by the very next check in every thread.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Sessions<'_> {
    /// The session of that number, if it is live.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, id: SessionId) -> Result<Session> {
        let engine = self.gate.engine();
        let found = engine.live(read_session(engine, id)?);
        found.ok_or_else(|| Error::not_found("session", id))
    }

    /// The instant at which a session ends unless it is used before then; `None` where it is not live. Asked from memory,
    /// and no use of the session.
    ///
    /// Something that outlives a request, such as a web socket, asks again at that instant, and as the
    /// [feed of changes](Portcullis::changes) tells.
    ///
    /// # Errors
    /// `Stopped` after a storage failure.
    pub fn live_until(&self, id: SessionId) -> Result<Option<Timestamp>> {
        self.gate.engine().live_until(id)
    }

    /// The live sessions of a user, by number.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<Session>> {
        user::read_user(&*self.gate.engine().store, user)?;
        self.page_by(SESSION_BY_USER, &user.bytes(), page)
    }

    /// All live sessions, by the instant at which they end at the latest.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_expiry(&self, page: &PageRequest) -> Result<Page<Session>> {
        self.page_by(SESSION_BY_EXPIRY, &[], page)
    }

    pub(super) fn page_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<Session>> {
        let engine = self.gate.engine();
        let (found, next) =
            store::page_by::<SessionRecord>(&*engine.store, index, &page.scan(index, prefix)?)?;
        Ok(Page::new(found, index, next).filter_map(|found| engine.live(found)))
    }

    /// Ends one session.
    ///
    /// # Errors
    /// `NotFound` where it has ended already; the storage kinds.
    pub fn revoke(&self, id: SessionId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = read_live_session(engine, id)?;
            warrant::may_administer(plan, old.record.user, "revoke a session")?;
            plan.batch.remove(&old);
            let entry = Entry::of(Subject::User(old.record.user)).and(Subject::Session(id));
            plan.record(AuditKind::SessionRevoked, entry)
        })?;
        Ok(())
    }

    /// Ends every session of the user but this one.
    ///
    /// # Errors
    /// `NotFound` where the session to keep is not live; the storage kinds.
    pub fn revoke_others(&self, keep: SessionId) -> Result<()> {
        let engine = self.gate.engine();
        let (user, _) = engine.write(self.gate.actor(), |plan| {
            let kept = expect_live_session(engine, plan, keep)?;
            let user = kept.record.user;
            warrant::may_administer(plan, user, "revoke sessions")?;
            stage_end_others(plan, &kept)?;
            Ok(user)
        })?;
        engine.sweep_after(Leftover::Sessions(user));
        Ok(())
    }

    /// Ends every session of a user: one small commit, however many there are.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn revoke_all(&self, user: UserId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "revoke sessions")?;
            stage_end_all(plan, user, Entry::of(Subject::User(user)).detail("all"))
        })?;
        engine.sweep_after(Leftover::Sessions(user));
        Ok(())
    }

    /// Ends every session of every user, and every login under way: one small commit, however many there are. API keys and
    /// devices stay.
    ///
    /// What is left of the sessions is removed by [`maintain`](Portcullis::maintain). Twice in 65,535 times, all that is left
    /// of earlier times is removed first, which reads every session.
    ///
    /// # Errors
    /// `Denied` for a delegated handle; the storage kinds.
    pub fn revoke_everything(&self) -> Result<()> {
        self.gate.refuse_delegated("revoke every session")?;
        self.gate.engine().begin_era(self.gate.actor(), "of everybody")
    }
}

/// The session, if it is live, by rows that the commit expects unchanged.
// INVARIANT: that the session has not been ended is decided from those rows. The view may be a commit behind them, and
// lifting a session that was just ended would revive it.
pub(super) fn expect_live_session(
    engine: &Engine,
    plan: &mut Plan<'_>,
    id: SessionId,
) -> Result<Stored<SessionRecord>> {
    let found = read_live_session(engine, id)?;
    let account = user::read_user(plan.store, found.record.user)?;
    if found.record.generation < account.record.generation
        || !account.record.status.is_active_at(plan.now)
        || found.record.era != session::expect_era(plan.store, &mut plan.batch)?
    {
        return Err(Error::not_found("session", id));
    }
    plan.batch.expect_unchanged(&account);
    plan.batch.expect_unchanged(&found);
    Ok(found)
}

/// Ends every session of the user but one that is live.
pub(super) fn stage_end_others(plan: &mut Plan<'_>, kept: &Stored<SessionRecord>) -> Result<()> {
    let (user, keep) = (kept.record.user, kept.record.id);
    let account = user::read_user(plan.store, user)?;
    // The session moves to the new generation before the user does: readers that look in between find one
    // that is not older than its user, so the kept session is live throughout.
    let mut moved = kept.record.clone();
    moved.generation = account.record.generation.saturating_add(1);
    plan.batch.replace(kept, &moved)?;
    let entry = Entry::of(Subject::User(user)).and(Subject::Session(keep)).detail("all but one");
    stage_end_all(plan, user, entry)
}

fn stage_end_all(plan: &mut Plan<'_>, user: UserId, entry: Entry) -> Result<()> {
    user::stage_generation(plan.store, &mut plan.batch, user)?;
    plan.leave(Leftover::Sessions(user))?;
    plan.record(AuditKind::SessionsRevoked, entry)
}

fn read_session(engine: &Engine, id: SessionId) -> Result<Stored<SessionRecord>> {
    store::read(&*engine.store, &id)?.ok_or_else(|| Error::not_found("session", id))
}

/// The stored session, if it is live; one that has ended may still be stored.
pub(super) fn read_live_session(engine: &Engine, id: SessionId) -> Result<Stored<SessionRecord>> {
    let stored = read_session(engine, id)?;
    match engine.live(stored.clone()) {
        Some(_) => Ok(stored),
        None => Err(Error::not_found("session", id)),
    }
}

impl Engine {
    pub(super) fn live_until(&self, id: SessionId) -> Result<Option<Timestamp>> {
        let end = self.view.live_until(id, self.seconds()).map(ViewTime::timestamp);
        // Asked last, so that an outage is never told as an end.
        if self.view.is_stopped() { Err(self.stopped()) } else { Ok(end) }
    }

    /// The session as it is now, with the last-seen time of the view; `None` if it is dead.
    pub(super) fn live(&self, stored: Stored<SessionRecord>) -> Option<Session> {
        let found = self.view.find(stored.record.id)?;
        if stored.record.impersonator.is_some_and(|by| !self.is_behind(&by)) {
            return None;
        }
        let seen = self.view.session(stored.record.id)?.seen.timestamp().max(stored.record.seen);
        let live = match &stored.record.family {
            None => self.view.session_live(found.handle(), self.seconds()) == Answer::Allow,
            // Also while its token has run out: it waits to be refreshed.
            Some(_) => {
                !stored.record.is_over(seen, self.now())
                    && self.view.session_stands(stored.record.id, self.seconds())
            }
        };
        let mut session = Session::from(stored.record);
        session.last_seen = seen;
        live.then_some(session)
    }

    /// Stages the last-seen time of a session, if it is later than the stored one.
    pub(super) fn stage_seen(&self, batch: &mut store::Batch, id: SessionId, seen: Timestamp) -> Result<()> {
        let Some(old) = store::read::<SessionRecord>(&*self.store, &id)? else { return Ok(()) };
        if seen > old.record.seen {
            let new = SessionRecord { seen, ..old.record.clone() };
            batch.replace(&old, &new)?;
        }
        Ok(())
    }
}
