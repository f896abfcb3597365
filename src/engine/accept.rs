//! From the text of a token to the session or the key that it opens: the hot path of a service.

use super::Engine;
use super::context::Asker;
use super::impersonation::Asked;
use super::view::{Answer, SessionHandle, ViewTime};
use crate::crypto::{Digest, Presented, Purpose};
use crate::error::Result;
use crate::id::{ApiKeyId, ScopeId, UserId};
use crate::session::Client;

/// What a token was accepted for.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) session: SessionHandle,
    pub(super) user: UserId,
    pub(super) keyed: bool,
    pub(super) impersonator: Option<UserId>,
}

impl Engine {
    pub(super) fn accept_session(&self, token: &str, client: Option<&Client>) -> Result<Accepted> {
        self.use_token(Purpose::Session, token, client)
    }

    /// Accepts a token and notes that it was used.
    #[inline(always)]
    pub(super) fn use_token(
        &self,
        purpose: Purpose,
        token: &str,
        client: Option<&Client>,
    ) -> Result<Accepted> {
        let (accepted, seen, now) = self.accept(purpose, token, client)?;
        if seen < now {
            self.view.touch(accepted.session, now);
        }
        Ok(accepted)
    }

    /// Accepts a token; also when it was last used, and what time it is.
    // A line of the other sort is never accepted: the digest covers what the token is for. Always inlined, so that what it
    // is for is settled when this is compiled.
    #[inline(always)]
    pub(super) fn accept(
        &self,
        purpose: Purpose,
        token: &str,
        client: Option<&Client>,
    ) -> Result<(Accepted, ViewTime, ViewTime)> {
        let refuse = || self.refuse_token(purpose);
        let Some(presented) = Presented::parse_as(purpose, token) else { return Err(refuse()) };
        // The line is on its way from memory while the digest is computed.
        let Some(found) = self.view.find(presented.id()) else { return Err(refuse()) };
        let digest = presented.digest();
        let Some(line) = self.view.read(&found) else { return Err(refuse()) };
        if digest != Digest(line.digest) {
            return Err(refuse());
        }
        let (session, now, keyed) = (line.handle, self.seconds(), purpose == Purpose::ApiKey);
        let impersonator = match line.noted && !keyed {
            false => None,
            // The note goes after the line does: without one the session has ended since.
            true => self.view.note(session.id()).ok_or_else(refuse)?.impersonator.map(|by| by.user),
        };
        let asker = || {
            let session = session.id();
            let (session, key) = match keyed {
                true => (None, Some(ApiKeyId::from_number(session.get()))),
                false => (Some(session), None),
            };
            Asker { user: line.user, session, key, client, impersonator }
        };
        let answer = self.in_context(self.view.session_live(session, now), asker, None, ScopeId::ROOT);
        let answer = match impersonator {
            None => answer,
            Some(_) => self.answer_for_both(answer, session.id(), Asked::Standing, ScopeId::ROOT, client),
        };
        match answer {
            Answer::Allow => {}
            Answer::Stopped => return Err(self.stopped()),
            Answer::Deny | Answer::Gone => return Err(refuse()),
        }
        if keyed && line.noted {
            self.take_request(session.id())?;
        }
        Ok((Accepted { session, user: line.user, keyed, impersonator }, line.seen, now))
    }
}
