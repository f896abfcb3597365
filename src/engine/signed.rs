//! Signed tokens, from the database's side: whom one may be issued to, whose have to be refused, and what may be forgotten.

use super::Engine;
use super::sweep::BATCH;
use crate::error::Result;
use crate::signed::{Hour, SignedRecord};
use crate::store::{self, Batch, Scan};
#[cfg(feature = "jwt")]
use {
    super::view::Answer,
    super::write::Entry,
    super::{Portcullis, Principal},
    crate::audit::{Actor, AuditKind, Subject},
    crate::clock::Timestamp,
    crate::error::{Denial, Error},
    crate::id::SessionId,
    crate::secret::random,
    crate::session::{Session, SessionRecord},
    crate::signed::{self, MOST_LEEWAY},
    crate::store::Stored,
    crate::user::UserRecord,
    std::time::Duration,
};

/// What a signed token is to say of a session that is live.
#[cfg(feature = "jwt")]
#[derive(Debug)]
pub(crate) struct Vouched {
    pub(crate) session: Session,
    /// From when and until when, in seconds; the second one is not past the end of the session.
    pub(crate) issued: u64,
    pub(crate) expires: u64,
    /// A number that no other token has.
    pub(crate) number: [u8; 16],
}

/// Sessions that have signed tokens out and are not live.
#[cfg(feature = "jwt")]
#[derive(Debug)]
pub(crate) struct Ended {
    /// All that ended before this instant are among them.
    pub(crate) at: Timestamp,
    /// In rising order, each once.
    pub(crate) sessions: Vec<SessionId>,
}

#[cfg(feature = "jwt")]
impl Principal<'_> {
    /// Says what a token of this session may say, having noted that there is one.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the session is not live, and with [`Denial::Impersonated`] where somebody acts
    /// as its user; `Stopped`; the storage kinds.
    pub(crate) fn vouch(&self, life: Duration, audience: &str) -> Result<Vouched> {
        self.gate.engine().require_self(self, AuditKind::SignedTokenIssued)?;
        self.gate.engine().vouch(self.session(), life, audience)
    }

    pub(crate) const fn gate(&self) -> &Portcullis {
        self.gate
    }
}

#[cfg(feature = "jwt")]
impl Portcullis {
    pub(crate) fn ended_with_signed_tokens(&self) -> Result<Ended> {
        self.engine().ended_with_signed_tokens()
    }
}

#[cfg(feature = "jwt")]
impl Engine {
    fn vouch(&self, id: SessionId, life: Duration, audience: &str) -> Result<Vouched> {
        let number = *random::<16>(&*self.entropy)?;
        let stored = self.read_live(id)?;
        let issued = self.now().as_secs();
        let expires = issued.saturating_add(life.as_secs()).min(stored.record.expires.as_secs());
        if expires <= issued {
            return Err(Error::denied(Denial::Session));
        }
        // INVARIANT: a token is signed only once the note of its session is durable, so that the feed can name the session
        // for as long as the token is good, whatever becomes of the session meanwhile.
        let hour = Hour::of_second(expires.saturating_sub(1));
        if store::read::<SignedRecord>(&*self.store, &(hour, id))?.is_none() {
            self.note_signed(id, hour, audience)?;
        }
        Ok(Vouched { session: stored.record.into(), issued, expires, number })
    }

    fn read_live(&self, id: SessionId) -> Result<Stored<SessionRecord>> {
        // Read before it is judged: what has ended by then is not live.
        let stored = store::read::<SessionRecord>(&*self.store, &id)?;
        match (stored, self.liveness(id)?) {
            (Some(stored), true) => Ok(stored),
            _ => Err(Error::denied(Denial::Session)),
        }
    }

    /// Whether a session is live.
    ///
    /// # Errors
    /// `Stopped`, where nothing is known.
    fn liveness(&self, id: SessionId) -> Result<bool> {
        let answer = self
            .view
            .find(id)
            .map_or(Answer::Gone, |found| self.view.session_live(found.handle(), self.seconds()));
        // What a view that was stopped does not find may well be there.
        if answer == Answer::Stopped || self.view.is_stopped() {
            return Err(Error::stopped(self.view.why_stopped()));
        }
        Ok(answer == Answer::Allow)
    }

    fn note_signed(&self, id: SessionId, hour: Hour, audience: &str) -> Result<()> {
        let session = store::read::<SessionRecord>(&*self.store, &id)?;
        let Some(owner) = session.map(|session| session.record.user) else {
            return Err(Error::denied(Denial::Session));
        };
        self.write(Actor::User(owner), |plan| {
            if store::read::<SignedRecord>(plan.store, &(hour, id))?.is_some() {
                return Ok(());
            }
            // Decided from rows which the commit expects unchanged, so that the log has no token of a session that had
            // ended before.
            let session = store::read::<SessionRecord>(plan.store, &id)?;
            let account = store::read::<UserRecord>(plan.store, &owner)?;
            let (Some(session), Some(account)) = (session, account) else {
                return Err(Error::denied(Denial::Session));
            };
            if session.record.generation < account.record.generation
                || session.record.expires <= plan.now
                || !account.record.status.is_active_at(plan.now)
            {
                return Err(Error::denied(Denial::Session));
            }
            plan.batch.expect_unchanged(&session);
            plan.batch.expect_unchanged(&account);
            let until = hour.end().min(session.record.expires);
            plan.batch.insert(&SignedRecord { hour, session: id, until })?;
            let entry = Entry::of(Subject::User(owner)).and(Subject::Session(id));
            let detail =
                format!("for {audience}; others that end before {} have no record of their own", hour.end());
            plan.record(AuditKind::SignedTokenIssued, entry.detail(shortened(detail)))
        })?;
        Ok(())
    }

    fn ended_with_signed_tokens(&self) -> Result<Ended> {
        // First the instant: what ended before it is seen by all that is read after it.
        let at = self.now();
        let mut sessions = Vec::new();
        let mut after = signed::before(Hour::first_believed(at));
        loop {
            let scan = Scan { prefix: &[], after: after.as_deref(), limit: 1024, descending: false };
            let (notes, next) = store::page::<SignedRecord>(&*self.store, &scan)?;
            for note in notes {
                let believed = note.record.until.saturating_add(MOST_LEEWAY) > at;
                if believed && !self.liveness(note.record.session)? {
                    sessions.push(note.record.session);
                }
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        sessions.sort_unstable();
        sessions.dedup();
        Ok(Ended { at, sessions })
    }
}

/// A detail that fits into an audit record, cut between characters.
#[cfg(feature = "jwt")]
fn shortened(mut detail: String) -> String {
    let mut end = detail.len().min(crate::text::MAX_TEXT);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
    detail
}

impl Engine {
    /// Removes notes of signed tokens that have all expired a while ago: bookkeeping without an audit record.
    pub(super) fn sweep_signed(&self, budget: usize) -> Result<usize> {
        let first = Hour::first_kept(self.now());
        let mut removed = 0;
        while removed < budget {
            let scan = Scan { limit: BATCH.min(budget - removed), ..Scan::default() };
            let (notes, _) = store::page::<SignedRecord>(&*self.store, &scan)?;
            let mut batch = Batch::new();
            let over = notes.iter().take_while(|note| note.record.hour < first);
            let count = over.map(|note| batch.remove(note)).count();
            if count == 0 {
                break;
            }
            self.commit_or_skip(batch)?;
            removed += count;
        }
        Ok(removed)
    }
}
