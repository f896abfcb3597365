//! Refreshing a session: a new pair of tokens for the one that is spent.
//!
//! A session is its own family of tokens: what it keeps of them stands in its row ([`Family`]), so that a rotation is one
//! row written over, and whatever ends the session ends the family.

use super::builder::Builder;
use super::context::Asker;
use super::events::{Event, EventKind};
use super::login::Login;
use super::view::Answer;
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::clock::Timestamp;
use crate::crypto::{Pair, PresentedRefresh, Purpose, RefreshToken, first_refresh};
use crate::error::{Error, Result};
use crate::id::{ScopeId, SessionId};
use crate::secret::random;
use crate::session::{self, Client, Family, Former, RefreshPolicy, SessionLimits, SessionRecord, Standing};
use crate::store::{self, Batch, Stored};
use crate::user::UserRecord;

impl Builder {
    /// How long the tokens of sessions live that can be [refreshed](crate::Portcullis::refresh), and those sessions.
    pub fn refresh(mut self, policy: RefreshPolicy) -> Self {
        self.refresh = policy;
        self
    }
}

impl Portcullis {
    /// A new pair of tokens for a session, in the place of the one whose refresh token this is: the old refresh token is
    /// spent, and the old access token opens nothing any more. A session can be refreshed whose login asked for it with
    /// [`Client::refreshable`]. It keeps its number, its end, its roles, and when and how its user proved who they are: a
    /// refresh proves nothing anew.
    ///
    /// **A repetition** of a refresh within the [grace](RefreshPolicy::grace) gets the same pair once more, as long as the
    /// new refresh token was not used itself: two tabs that refresh at once both go on, and so does a client to which the
    /// first answer did not get through, also where the process ended in between.
    ///
    /// **A reuse** is anything else that is presented twice: a refresh token of the session that was spent before, whenever
    /// that was. Somebody else has it then, and nobody knows who of the two is the user. So the session ends, with one
    /// audit record ([`RefreshTokenReused`](AuditKind::RefreshTokenReused)) and an event. The same happens where the login
    /// named a [device](Client::device) and the client of the refresh names another one or none
    /// ([`RefreshTokenElsewhere`](AuditKind::RefreshTokenElsewhere)).
    ///
    /// What never was a token of the session changes nothing and is not recorded: a token can not be guessed, so there is
    /// nothing to count, and a flood can fill nothing. Nor is a rotation recorded that went well; it counts as a use of the
    /// session ([`Session::last_seen`](crate::Session::last_seen)). It is durable when this returns. No delegation is
    /// asked, as none is by a login.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`](crate::Denial::Session) for whatever refreshes no live session, whatever is wrong with it; `InvalidInput`
    /// for a client detail that breaks a rule; the storage kinds. After an error other than `Denied` the same token may be
    /// presented again.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis};
    /// let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let client = Client::new().device("laptop").refreshable();
    /// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &client)?;
    /// let first = login.refresh_token().expect("it was asked for");
    ///
    /// let second = gate.refresh(first, &client)?;
    /// assert!(gate.authenticate(second.token()).is_ok() && gate.authenticate(login.token()).is_err());
    /// assert_eq!(gate.refresh(first, &client)?.token().as_str(), second.token().as_str()); // the other tab
    ///
    /// let third = gate.refresh(second.refresh_token().expect("each refresh has one"), &client)?;
    /// assert!(gate.refresh(first, &client).is_err()); // somebody who has found it
    /// assert!(gate.authenticate(third.token()).is_err()); // and nobody is in any more
    /// # Ok(())
    /// # }
    /// ```
    pub fn refresh(&self, token: impl AsRef<str>, client: &Client) -> Result<Login> {
        client.check()?;
        let engine = self.engine();
        let Some(token) = PresentedRefresh::parse(token.as_ref()) else {
            return Err(engine.refuse_token(Purpose::Session));
        };
        if !engine.rules_let_refresh(&token, client)? {
            return Err(engine.refuse_token(Purpose::Session));
        }
        let (refreshed, _) =
            engine.write(Actor::Anonymous, |plan| engine.plan_refresh(plan, &token, client))?;
        refreshed.ok_or_else(|| engine.refuse_token(Purpose::Session))
    }
}

impl Engine {
    /// How long a session lives that this client opens.
    pub(super) fn limits_for(&self, client: &Client) -> SessionLimits {
        if client.refreshable { self.refresh.limits } else { self.limits }
    }

    /// The first refresh token of a new session with that end, where the client asks for one, and what is kept of it.
    pub(super) fn begin_family(
        &self,
        client: &Client,
        session: SessionId,
        now: Timestamp,
    ) -> Result<(Option<RefreshToken>, Option<Family>)> {
        if !client.refreshable {
            return Ok((None, None));
        }
        let (text, token) = first_refresh(&*self.entropy, session)?;
        let family = Family {
            access_until: now.saturating_add(self.refresh.access),
            mark: token.mark.0,
            present: token.digest.0,
            former: None,
            rotations: 0,
        };
        Ok((Some(text), Some(family)))
    }

    /// Whether the context rules let this client refresh the session of a token that is good. They are asked before the
    /// plan, which may run more than once.
    // INVARIANT: what the plan finds good was asked about: a token is good from before anybody has it until it is spent.
    fn rules_let_refresh(&self, token: &PresentedRefresh, client: &Client) -> Result<bool> {
        if !self.has_rules() {
            return Ok(true);
        }
        let Some(found) = store::read::<SessionRecord>(&*self.store, &token.session())? else {
            return Ok(false);
        };
        let session = found.record;
        let standing =
            session.family.as_ref().map(|family| family.standing(token, self.now(), self.refresh.grace));
        match standing {
            Some(Standing::Present | Standing::Repeated(_)) => {
                let (user, session, client) = (session.user, Some(session.id), Some(client));
                let asker = Asker { user, session, key: None, client, impersonator: None };
                Ok(self.in_context(Answer::Allow, || asker, None, ScopeId::ROOT) == Answer::Allow)
            }
            Some(Standing::Spent) => Ok(true),
            Some(Standing::Stranger) | None => Ok(false),
        }
    }

    /// The next pair, or the same once more; none for what is refused.
    fn plan_refresh(
        &self,
        plan: &mut Plan<'_>,
        token: &PresentedRefresh,
        client: &Client,
    ) -> Result<Option<Login>> {
        let Some(old) = store::read::<SessionRecord>(plan.store, &token.session())? else { return Ok(None) };
        let session = &old.record;
        let Some(family) = &session.family else { return Ok(None) };
        let standing = family.standing(token, plan.now, self.refresh.grace);
        if matches!(standing, Standing::Stranger) || !self.goes_on(plan, session)? {
            return Ok(None);
        }
        let Some(account) = store::read::<UserRecord>(plan.store, &session.user)? else { return Ok(None) };
        if session.generation < account.record.generation {
            return Ok(None);
        }
        let repeated = match standing {
            Standing::Repeated(former) => Some(former),
            Standing::Present | Standing::Stranger => None,
            // Also while the user may not log in, as somebody may again.
            Standing::Spent => {
                let detail = format!(
                    "a refresh token that was spent came again{}; the session ends after {} refreshes",
                    source(client),
                    family.rotations
                );
                let (kind, event) = (AuditKind::RefreshTokenReused, EventKind::RefreshTokenReused);
                return end_family(plan, &old, (kind, event), detail, client);
            }
        };
        if session.impersonator.is_some() || !account.record.status.is_active_at(plan.now) {
            return Ok(None);
        }
        if !session.device.is_empty() && session.device != client.device {
            let detail = format!(
                "the refresh token of the device \"{}\" came from \"{}\"{}; the session ends",
                session.device,
                client.device,
                source(client)
            );
            let (kind, event) = (AuditKind::RefreshTokenElsewhere, EventKind::RefreshTokenElsewhere);
            return end_family(plan, &old, (kind, event), detail, client);
        }
        plan.batch.expect_unchanged(&account);
        if session::expect_era(plan.store, &mut plan.batch)? != session.era {
            plan.batch = Batch::new();
            return Ok(None);
        }
        let Some(former) = repeated else { return self.rotate(plan, &old, family, token).map(Some) };
        // The commit that made the successors may be durable and not acknowledged yet. What is committed after it, be it
        // an expectation alone, returns when the view knows of both.
        plan.batch.expect_unchanged(&old);
        let pair = token.successor(&former.nonce);
        if pair.refresh_digest.0 != family.present || pair.access_digest.0 != session.digest {
            let message = format!("what {} keeps of its refresh tokens does not fit together", session.id);
            return Err(Error::damaged(message));
        }
        Ok(Some(Login::refreshed(pair, session.clone())))
    }

    /// Whether a session is within its limits, and of the present era, as far as can be told before the commit.
    fn goes_on(&self, plan: &Plan<'_>, session: &SessionRecord) -> Result<bool> {
        // What was seen since the last maintenance only the view knows; it can be ahead of the row in this alone.
        let seen = self.view.session(session.id).map_or(session.seen, |line| line.seen.timestamp());
        Ok(!session.is_over(seen.max(session.seen), plan.now) && session.era == session::era(plan.store)?)
    }

    fn rotate(
        &self,
        plan: &mut Plan<'_>,
        old: &Stored<SessionRecord>,
        family: &Family,
        token: &PresentedRefresh,
    ) -> Result<Login> {
        let nonce = *random::<32>(&*self.entropy)?;
        let pair: Pair = token.successor(&nonce);
        let new = SessionRecord {
            digest: pair.access_digest.0,
            seen: plan.now.max(old.record.seen),
            family: Some(Family {
                access_until: plan.now.saturating_add(self.refresh.access),
                mark: family.mark,
                present: pair.refresh_digest.0,
                former: Some(Former { digest: family.present, rotated: plan.now, nonce }),
                rotations: family.rotations.saturating_add(1),
            }),
            ..old.record.clone()
        };
        plan.batch.replace(old, &new)?;
        Ok(Login::refreshed(pair, new))
    }
}

/// Ends a session whose refresh token somebody else has, too.
fn end_family(
    plan: &mut Plan<'_>,
    old: &Stored<SessionRecord>,
    (kind, event): (AuditKind, EventKind),
    detail: String,
    client: &Client,
) -> Result<Option<Login>> {
    let (user, session) = (old.record.user, old.record.id);
    plan.batch.remove(old);
    let event = Event::of(user, event).from(client);
    plan.notify(Event { session: Some(session), device: old.record.device_id, ..event });
    let entry = Entry::of(Subject::User(user)).and(Subject::Session(session)).detail(detail);
    plan.record_outcome(kind, Outcome::Denied, Actor::Anonymous, entry)?;
    Ok(None)
}

fn source(client: &Client) -> String {
    client.ip.map(|ip| format!(" from {ip}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
