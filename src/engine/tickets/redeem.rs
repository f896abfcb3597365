//! From a presented token to what it may do: looked at as often as one likes, and spent once, by the commit that does it.

use super::describe;
use super::issue::expect_credential;
use crate::assurance::Method;
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::challenge;
use crate::clock::Timestamp;
use crate::credential::CredentialRecord;
use crate::crypto::{Presented, Purpose};
use crate::engine::Engine;
use crate::engine::login::status_detail;
use crate::engine::throttle::{Admission, Attempt, Fault};
use crate::engine::write::{Entry, Plan};
use crate::error::{Denial, Error, Result};
use crate::id::{Key, UserId};
use crate::session::{Client, SESSION_BY_USER, SessionRecord};
use crate::store::{self, Batch, Scan, Store, Stored};
use crate::ticket::{self, Fate, MAX_FAILURES, Match, Side, TicketPurpose, TicketRecord};
use crate::user::{ContactRecord, StatusKind, UserRecord};

/// Sessions that one commit ends when a link is presented again, and how many are read for that at a time.
const BATCH: usize = 16;
const PAGE: usize = 256;
/// More logins of one user than can be under way.
const LOGINS: usize = 16;

/// Why a token is refused: the truth, for the audit log.
#[derive(Debug)]
pub(in crate::engine) struct Refused {
    kind: AuditKind,
    denial: Denial,
    user: Option<UserId>,
    detail: String,
    /// When it was used before, for a magic link that opens in any browser.
    reused: Option<Timestamp>,
    /// The number of the token that came with a wrong second factor.
    guessed: Option<u64>,
    /// Whether what was staged by then is committed all the same: that a passkey is suspended.
    stays: bool,
}

impl Refused {
    fn unknown() -> Self {
        let detail =
            "no one-time token of this database for that purpose, or one that is forgotten".to_owned();
        Self {
            kind: AuditKind::TicketUnknown,
            denial: Denial::Ticket,
            user: None,
            detail,
            reused: None,
            guessed: None,
            stays: false,
        }
    }

    /// The token is the right one, and something else is not.
    pub(super) fn of(ticket: &TicketRecord, reason: &str) -> Self {
        Self {
            kind: AuditKind::TicketRefused,
            denial: Denial::Ticket,
            user: Some(ticket.user),
            detail: format!("{}: {reason}", describe(ticket)),
            reused: None,
            guessed: None,
            stays: false,
        }
    }

    /// The token is the right one, and the passkey that came with it is not, which nobody guesses.
    #[cfg(feature = "passkeys")]
    pub(super) fn passkey(ticket: &TicketRecord, reason: &str) -> Self {
        Self { stays: true, ..Self::factor(ticket, reason, false) }
    }

    /// The token is the right one, and the second factor that must come with it is missing or wrong.
    pub(super) fn factor(ticket: &TicketRecord, reason: &str, wrong: bool) -> Self {
        let guessed = wrong.then(|| ticket.id().get());
        Self { denial: Denial::FactorRequired, guessed, ..Self::of(ticket, reason) }
    }

    /// What the log says.
    pub(in crate::engine) fn detail(&self) -> &str {
        &self.detail
    }

    /// The token was used, and what it began is not complete.
    pub(super) fn again(ticket: &TicketRecord) -> Self {
        Self { kind: AuditKind::TicketReplayed, ..Self::of(ticket, "used before") }
    }

    /// The token itself is over.
    fn over(found: &Match) -> Option<Self> {
        let ticket = &found.stored.record;
        let (kind, reason, reused) = match found.fate {
            Fate::Live => return None,
            Fate::Used(at) => {
                let anywhere = ticket.purpose == TicketPurpose::MagicLink && !found.bound;
                (AuditKind::TicketReplayed, "used before", anywhere.then_some(at))
            }
            Fate::Expired => (AuditKind::TicketLate, "past its end", None),
            Fate::Replaced => (AuditKind::TicketRefused, "replaced by a newer one", None),
            Fate::Revoked => (AuditKind::TicketRefused, "revoked", None),
            Fate::Failed => (AuditKind::TicketRefused, "too many wrong second factors came with it", None),
            Fate::Refused => {
                (AuditKind::TicketRefused, "the change was refused by the present address", None)
            }
        };
        Some(Self { kind, reused, ..Self::of(ticket, reason) })
    }
}

/// A token that is good, and the rows that say so.
pub(in crate::engine) struct Good {
    pub(super) ticket: Stored<TicketRecord>,
    pub(super) side: Side,
    /// Whether this side of an e-mail change is confirmed already.
    pub(super) confirmed: bool,
    pub(super) account: Stored<UserRecord>,
    pub(super) contact: Option<Stored<ContactRecord>>,
    /// The user's password, where the token is bound to it.
    credential: Option<Stored<CredentialRecord>>,
}

impl Good {
    pub(in crate::engine) fn user(&self) -> UserId {
        self.account.record.id
    }

    /// Expects all that makes the token good.
    fn expect(&self, plan: &mut Plan<'_>) {
        plan.actor = Actor::User(self.user());
        plan.batch.expect_unchanged(&self.ticket);
        plan.batch.expect_unchanged(&self.account);
        if let Some(contact) = &self.contact {
            plan.batch.expect_unchanged(contact);
        }
        if self.ticket.record.revision.is_some() {
            expect_credential(plan, self.user(), self.credential.as_ref());
        }
    }

    /// Stages the end of the token: two who spend it at the same time rewrite one row, and one of them plans again.
    pub(in crate::engine) fn spend(&self, plan: &mut Plan<'_>, detail: &str) -> Result<()> {
        self.become_of(plan, Fate::Used(plan.now))?;
        self.used(plan, detail)
    }

    pub(super) fn used(&self, plan: &mut Plan<'_>, detail: &str) -> Result<()> {
        let ticket = describe(&self.ticket.record);
        let detail = if detail.is_empty() { ticket } else { format!("{ticket}: {detail}") };
        plan.record(AuditKind::TicketUsed, Entry::of(Subject::User(self.user())).detail(detail))
    }

    pub(super) fn become_of(&self, plan: &mut Plan<'_>, fate: Fate) -> Result<()> {
        let new = TicketRecord { fate, ..self.ticket.record.clone() };
        plan.batch.replace(&self.ticket, &new)
    }
}

/// Whether the token is good for that purpose at that instant, and why not.
pub(super) fn examine(
    store: &dyn Store,
    now: Timestamp,
    purpose: Purpose,
    token: &str,
) -> Result<Result<Good, Refused>> {
    let Some(presented) = Presented::parse_as(purpose, token) else { return Ok(Err(Refused::unknown())) };
    let Some(found) = ticket::find(store, &presented, now)? else { return Ok(Err(Refused::unknown())) };
    if let Some(refused) = Refused::over(&found) {
        return Ok(Err(refused));
    }
    standing(store, now, found)
}

/// Whether all that a token is bound to is as it was when it was issued.
fn standing(store: &dyn Store, now: Timestamp, found: Match) -> Result<Result<Good, Refused>> {
    let Match { stored, side, confirmed, .. } = found;
    let ticket = &stored.record;
    let refused = |reason: &str| Ok(Err(Refused::of(ticket, reason)));
    let Some(account) = store::read::<UserRecord>(store, &ticket.user)? else {
        return refused("the user was deleted");
    };
    let (status, pending) = (&account.record.status, account.record.status.kind == StatusKind::Pending);
    let may = match ticket.purpose {
        TicketPurpose::Invitation => pending,
        TicketPurpose::EmailVerification => pending || status.is_active_at(now),
        _ => status.is_active_at(now),
    };
    if !may {
        return refused(&format!("the account is {}", status_detail(&account.record)));
    }
    if ticket.generation.is_some_and(|generation| generation != account.record.generation) {
        return refused("all sessions of the user were ended since it was issued");
    }
    let credential = match ticket.revision {
        Some(_) => store::read::<CredentialRecord>(store, &ticket.user)?,
        None => None,
    };
    let revision = credential.as_ref().map(|credential| credential.record.revision);
    if ticket.revision.is_some_and(|due| due != revision) {
        return refused("the password was changed since it was issued");
    }
    let contact = match ticket.contact {
        Some(id) => store::read::<ContactRecord>(store, &(ticket.user, id))?,
        None => None,
    };
    match (&contact, ticket.contact) {
        (Some(contact), _) if Some(&contact.record.value) != ticket.address.as_ref() => {
            refused("the contact has another address since it was issued")
        }
        (None, Some(_)) => refused("the contact was removed"),
        _ => Ok(Ok(Good { ticket: stored, side, confirmed, account, contact, credential })),
    }
}

impl Engine {
    /// Whether a token of the row is good for anything.
    pub(super) fn is_good(&self, stored: Stored<TicketRecord>) -> Result<bool> {
        let now = self.now();
        let live = stored.record.fate_at(now) == Fate::Live;
        Ok(live && standing(&*self.store, now, Match::newest(stored, now))?.is_ok())
    }

    /// The right to present a one-time token from there.
    pub(super) fn admitted(&self, client: &Client) -> Result<Admission<'_>> {
        client.check()?;
        self.admit(&Attempt::token(client))?.map_err(Error::denied)
    }

    /// Looks at a token without spending it, before work that is dear; the plan that spends it looks again.
    pub(super) fn look_at(&self, purpose: Purpose, token: &str, admission: &Admission<'_>) -> Result<Good> {
        let looked = examine(&*self.store, self.now(), purpose, token)?;
        looked.map_err(|refused| self.refuse_ticket(&refused, admission))
    }

    /// What a good token does, in one commit that spends it. A plan that refuses commits nothing.
    pub(super) fn redeem<T>(
        &self,
        purpose: Purpose,
        token: &str,
        admission: &Admission<'_>,
        mut plan_it: impl FnMut(&mut Plan<'_>, &Good) -> Result<Result<T, Refused>>,
    ) -> Result<T> {
        let (done, _) = self.write(Actor::Anonymous, |plan| {
            let good = match examine(plan.store, plan.now, purpose, token)? {
                Ok(good) => good,
                Err(refused) => return Ok(Err(refused)),
            };
            good.expect(plan);
            let done = plan_it(plan, &good)?;
            if done.as_ref().is_err_and(|refused| !refused.stays) {
                plan.batch = Batch::new();
                plan.events.clear();
            }
            Ok(done)
        })?;
        done.map_err(|refused| self.refuse_ticket(&refused, admission))
    }

    /// Stages that a magic link is spent by the login that is planned, or says why it can not be.
    pub(in crate::engine) fn stage_link(
        plan: &mut Plan<'_>,
        link: &super::PresentedLink<'_>,
    ) -> Result<Result<(), Refused>> {
        let good = match examine(plan.store, plan.now, Purpose::MagicLink, link.token)? {
            Ok(good) => good,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(refused) = link.refused_for(&good) {
            return Ok(Err(refused));
        }
        good.expect(plan);
        good.spend(plan, "").map(Ok)
    }

    /// Writes down the true reason, and gives the answer that everybody gets. A magic link that opens in any browser and
    /// is presented again may be in two hands, so what it opened ends (OWASP ASVS 5.0 10.4.2).
    pub(in crate::engine) fn refuse_ticket(&self, refused: &Refused, admission: &Admission<'_>) -> Error {
        let written = self.write(Actor::Anonymous, |plan| {
            let (mut more, mut ended) = (String::new(), 0);
            if let Some(number) = refused.guessed {
                more.push_str(stage_guess(plan, number)?);
                admission.failed(plan, refused.user, Fault::Wrong)?;
            } else if refused.denial == Denial::Ticket {
                // Who comes without a factor that is asked for has guessed nothing.
                admission.failed(plan, None, Fault::Barred)?;
            }
            if let (Some(user), Some(since)) = (refused.user, refused.reused) {
                ended = stage_end_of_link(plan, user, since)?;
                more = format!("; {ended} sessions and logins ended that a link opened");
            }
            let entry = Entry { subject: refused.user.map(Subject::User), ..Entry::default() };
            let entry = entry.detail(format!("{}{more}", refused.detail));
            plan.record_outcome(refused.kind, Outcome::Denied, Actor::Anonymous, entry)?;
            Ok(ended)
        });
        let all = written.and_then(|(ended, _)| match (refused.user, refused.reused) {
            (Some(user), Some(since)) if ended > 0 => self.end_the_rest_of_link(user, since),
            _ => Ok(()),
        });
        all.map_or_else(|error| error, |()| Error::denied(refused.denial))
    }

    /// What one commit could not end.
    fn end_the_rest_of_link(&self, user: UserId, since: Timestamp) -> Result<()> {
        loop {
            let (ended, _) = self.write(Actor::Anonymous, |plan| {
                let ended = stage_end_of_link(plan, user, since)?;
                if ended > 0 {
                    let detail = format!("{ended} that a link opened which was presented again");
                    plan.record(AuditKind::SessionsRevoked, Entry::of(Subject::User(user)).detail(detail))?;
                }
                Ok(ended)
            })?;
            if ended == 0 {
                return Ok(());
            }
        }
    }
}

/// Stages the end of sessions and logins under way that a link has opened since that instant: that of the link that is
/// presented again, and of any later one. How many; there may be more.
fn stage_end_of_link(plan: &mut Plan<'_>, user: UserId, since: Timestamp) -> Result<usize> {
    let sessions = opened_by_link(plan.store, user, since)?;
    let mut logins = challenge::of_user(plan.store, user, LOGINS)?;
    logins.retain(|login| login.record.methods.contains(Method::MagicLink) && login.record.created >= since);
    sessions.iter().for_each(|session| plan.batch.remove(session));
    logins.iter().for_each(|login| plan.batch.remove(login));
    Ok(sessions.len() + logins.len())
}

/// Counts a wrong second factor. The fifth ends the token, which otherwise stays good.
fn stage_guess(plan: &mut Plan<'_>, number: u64) -> Result<&'static str> {
    let (found, now) = (ticket::find_by_number(plan.store, number)?, plan.now);
    let live =
        found.filter(|found| found.record.id().get() == number && found.record.fate_at(now) == Fate::Live);
    let Some(live) = live else { return Ok("") };
    let failures = live.record.failures.saturating_add(1);
    let (fate, more) = match failures >= MAX_FAILURES {
        true => (Fate::Failed, "; too many of them, the token is worth nothing any more"),
        false => (Fate::Live, ""),
    };
    plan.batch.replace(&live, &TicketRecord { failures, fate, ..live.record.clone() })?;
    Ok(more)
}

/// Some of the user's sessions that a link has opened since that instant.
fn opened_by_link(store: &dyn Store, user: UserId, since: Timestamp) -> Result<Vec<Stored<SessionRecord>>> {
    let (prefix, mut found, mut after) = (user.bytes(), Vec::new(), None::<Vec<u8>>);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE, descending: false };
        let (sessions, next) = store::page_by::<SessionRecord>(store, SESSION_BY_USER, &scan)?;
        let by_link = |session: &Stored<SessionRecord>| {
            session.record.methods.contains(Method::MagicLink) && session.record.created >= since
        };
        found.extend(sessions.into_iter().filter(by_link).take(BATCH - found.len()));
        match next {
            Some(next) if found.len() < BATCH => after = Some(next),
            _ => return Ok(found),
        }
    }
}
