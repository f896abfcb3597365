//! What a login asks of passkeys, in two halves: `start_*` gives the browser's options and what to keep until the answer;
//! `check_*` verifies the answer, which takes a signature's time, and `stage_assertion` decides about it inside the commit
//! that opens a session or takes the login on.

use super::super::Engine;
use super::super::events::{Event, EventKind};
use super::super::write::{Entry, Plan};
use crate::audit::{AuditKind, Outcome, Subject};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::UserId;
use crate::passkey::{
    CHALLENGE, PASSKEY_BY_CREDENTIAL, PasskeyId, PasskeyRecord, PasskeyState, Presented, Secret, StateKey,
    UserVerification, credential_key, passkeys_of,
};
use crate::secret::{equal, random};
use crate::store;
use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Of the stored form of [`Asked`].
const FORMAT: u8 = 1;
const NAME: &str = "passkey_assertion";

/// The body of a login ticket: when it expires, and the challenge. Its tag follows.
const BODY: usize = 8 + CHALLENGE;
const TAG: usize = 32;

/// What the flow keeps of an assertion that it asked for; 200 bytes at most when encoded.
#[derive(Serialize, Deserialize)]
struct Asked {
    user: UserId,
    challenge: [u8; CHALLENGE],
    expires: Timestamp,
    verify_user: bool,
    /// The passkeys that may answer.
    allowed: Vec<u64>,
}

/// Why an assertion is refused: for the audit log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasskeyRefusal {
    Malformed,
    /// The ticket is not one of this database.
    Ticket,
    Expired,
    /// The challenge was answered before.
    Spent,
    /// Not registered (any more), or not of the user who was asked.
    Unknown,
    Suspended,
    /// The counter did not grow; the passkey is suspended by the same commit.
    Cloned,
    /// What the verification found.
    Assertion(&'static str),
}

impl PasskeyRefusal {
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "the assertion is not the JSON of a credential",
            Self::Ticket => "the ticket is not of this database",
            Self::Expired => "the passkey's challenge has expired",
            Self::Spent => "the passkey's challenge was answered before",
            Self::Unknown => "the passkey is not registered, or not the user's",
            Self::Suspended => "the passkey is suspended",
            Self::Cloned => "the passkey's counter did not grow: it may have been copied",
            Self::Assertion(reason) => reason,
        }
    }
}

/// An assertion that was verified, and not decided about yet. It opens nothing until it was staged.
#[derive(Debug)]
pub(crate) struct Assertion {
    user: UserId,
    id: u64,
    /// Of the record that it was verified against.
    key: Vec<u8>,
    counter: u32,
    backed_up: bool,
    user_verified: bool,
    challenge: [u8; CHALLENGE],
    expires: Timestamp,
    /// Whether the commit has to remember that the challenge is spent. Where the flow's own challenge record is used up
    /// by the same commit, it has not.
    remember: bool,
}

impl Assertion {
    /// Whose passkey signed. Only `stage_assertion` says whether that is to be believed.
    pub(crate) const fn user(&self) -> UserId {
        self.user
    }
}

/// Who proved to hold a passkey, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PasskeyProof {
    pub(crate) user: UserId,
    pub(crate) passkey: PasskeyId,
    /// Whether the authenticator verified the user: two factors then, and one otherwise.
    pub(crate) user_verified: bool,
    /// Whether the key can be copied between the user's devices: then it is no proof of one piece of hardware.
    pub(crate) backup_eligible: bool,
}

impl Engine {
    /// Asks a known user for an assertion: options for `navigator.credentials.get`, and what to keep until the answer.
    /// `None` for a user without a passkey that could answer. It writes nothing.
    pub(crate) fn start_assertion(&self, user: UserId) -> Result<Option<(String, Vec<u8>)>> {
        let party = self.relying_party()?;
        let held = passkeys_of(&*self.store, user)?;
        let usable: Vec<&PasskeyRecord> =
            held.iter().map(|row| &row.record).filter(|record| record.suspended.is_none()).collect();
        if usable.is_empty() {
            return Ok(None);
        }
        let challenge = *random::<CHALLENGE>(&*self.entropy)?;
        let verification = party.second_factor();
        let options = party.assertion_options(&challenge, verification, &usable)?;
        let asked = Asked {
            user,
            challenge,
            expires: self.now().saturating_add(party.timeout()),
            verify_user: verification == UserVerification::Required,
            allowed: usable.iter().map(|record| record.id).collect(),
        };
        Ok(Some((options, store::encode_value(NAME, FORMAT, &asked)?)))
    }

    /// Verifies the answer to [`start_assertion`](Self::start_assertion), and changes nothing. The commit that believes it
    /// must use up the record that the state was kept in: that is what makes the challenge good once.
    ///
    /// # Errors
    /// `InvalidInput` for an answer above 16 KiB, before it is looked at; the storage kinds.
    pub(crate) fn check_assertion(
        &self,
        state: &[u8],
        response: &str,
    ) -> Result<Result<Assertion, PasskeyRefusal>> {
        let asked: Asked = store::decode_value(NAME, FORMAT, state)?;
        let Some(presented) = Presented::known(response)? else { return Ok(Err(PasskeyRefusal::Malformed)) };
        let verification =
            if asked.verify_user { UserVerification::Required } else { UserVerification::Preferred };
        let Some(record) = self.presented_passkey(&presented)? else {
            return Ok(Err(PasskeyRefusal::Unknown));
        };
        if record.user != asked.user || !asked.allowed.contains(&record.id) {
            return Ok(Err(PasskeyRefusal::Unknown));
        }
        let challenge = (asked.challenge, asked.expires);
        self.verify_assertion(challenge, verification, record, &presented, false)
    }

    /// Asks whoever is there for an assertion of a discoverable passkey: options, and a ticket for the client. It writes
    /// nothing, once the database has its secret: a page that offers passkeys on every visit costs no disk.
    pub(crate) fn start_passkey_login(&self) -> Result<(String, String)> {
        let party = self.relying_party()?;
        let secret = match Secret::read(&*self.store)? {
            Some(secret) => secret,
            None => {
                let (secret, _) = self.write(crate::audit::Actor::System, |plan| {
                    Secret::read_or_stage(plan.store, &mut plan.batch, &*self.entropy)
                })?;
                secret
            }
        };
        let challenge = *random::<CHALLENGE>(&*self.entropy)?;
        let expires = self.now().saturating_add(party.timeout());
        let mut ticket = expires.as_millis().to_be_bytes().to_vec();
        ticket.extend_from_slice(&challenge);
        let tag = secret.ticket_tag(&ticket);
        ticket.extend_from_slice(&tag);
        Ok((party.discovery_options(&challenge)?, URL_SAFE_NO_PAD.encode_to_string(&ticket)))
    }

    /// Verifies the answer to [`start_passkey_login`](Self::start_passkey_login), and changes nothing. The user was
    /// verified by the authenticator, or it is refused.
    ///
    /// # Errors
    /// `InvalidInput` for an answer above 16 KiB, before it is looked at; the storage kinds.
    pub(crate) fn check_passkey_login(
        &self,
        ticket: &str,
        response: &str,
    ) -> Result<Result<Assertion, PasskeyRefusal>> {
        let Some(challenge) = self.ticket_challenge(ticket)? else { return Ok(Err(PasskeyRefusal::Ticket)) };
        let Some(presented) = Presented::discoverable(response)? else {
            return Ok(Err(PasskeyRefusal::Malformed));
        };
        let Some(record) = self.presented_passkey(&presented)? else {
            return Ok(Err(PasskeyRefusal::Unknown));
        };
        self.verify_assertion(challenge, UserVerification::Required, record, &presented, true)
    }

    /// The challenge in a ticket of this database, and when it expires.
    fn ticket_challenge(&self, ticket: &str) -> Result<Option<([u8; CHALLENGE], Timestamp)>> {
        let text = if ticket.len() <= 128 { ticket } else { "" };
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(text).unwrap_or_default();
        let parts = bytes.split_first_chunk::<BODY>().and_then(|(body, tag)| {
            let (expires, challenge) = body.split_first_chunk::<8>()?;
            Some((body, expires, challenge.first_chunk::<CHALLENGE>()?, <&[u8; TAG]>::try_from(tag).ok()?))
        });
        let (Some((body, expires, challenge, tag)), Some(secret)) = (parts, Secret::read(&*self.store)?)
        else {
            return Ok(None);
        };
        let ours = equal(&secret.ticket_tag(body), tag);
        Ok(ours.then(|| (*challenge, Timestamp::from_millis(u64::from_be_bytes(*expires)))))
    }

    /// The passkey that an assertion names, whoever's it is.
    fn presented_passkey(&self, presented: &Presented) -> Result<Option<PasskeyRecord>> {
        let key = credential_key(presented.credential());
        Ok(store::find::<PasskeyRecord>(&*self.store, PASSKEY_BY_CREDENTIAL, &key)?.map(|row| row.record))
    }

    fn verify_assertion(
        &self,
        (challenge, expires): ([u8; CHALLENGE], Timestamp),
        verification: UserVerification,
        record: PasskeyRecord,
        presented: &Presented,
        remember: bool,
    ) -> Result<Result<Assertion, PasskeyRefusal>> {
        if self.now() >= expires {
            return Ok(Err(PasskeyRefusal::Expired));
        }
        let secret = Secret::required(&*self.store)?;
        secret.check(&record)?;
        let handle = secret.user_handle(record.user);
        let seen =
            match self.relying_party()?.verify(&challenge, verification, &handle, &record, presented)? {
                Ok(seen) => seen,
                Err(reason) => return Ok(Err(PasskeyRefusal::Assertion(reason))),
            };
        Ok(Ok(Assertion {
            user: record.user,
            id: record.id,
            key: record.key,
            counter: seen.counter,
            backed_up: seen.backed_up,
            user_verified: seen.user_verified,
            challenge,
            expires,
            remember,
        }))
    }
}

/// Decides about a verified assertion, in the plan of whoever believes it: that the passkey is still registered and not
/// suspended, that its challenge is neither spent nor expired, and that its counter has grown. Stages the new counter.
///
/// After a refusal the plan must stage nothing more and return without an error: where the counter did not grow, what is
/// staged is the suspension of the passkey, with its audit record. Nothing else is staged by a refusal.
pub(crate) fn stage_assertion(
    plan: &mut Plan<'_>,
    assertion: &Assertion,
) -> Result<Result<PasskeyProof, PasskeyRefusal>> {
    let &Assertion { user, id, counter, challenge, expires, .. } = assertion;
    if plan.now >= expires {
        return Ok(Err(PasskeyRefusal::Expired));
    }
    // First of all: of those who present one assertion many times, none but the first may come to the counter.
    if assertion.remember
        && store::read::<PasskeyState>(plan.store, &StateKey::Spent(expires.as_millis(), challenge))?
            .is_some()
    {
        return Ok(Err(PasskeyRefusal::Spent));
    }
    let Some(row) = store::read::<PasskeyRecord>(plan.store, &(user, id))? else {
        return Ok(Err(PasskeyRefusal::Unknown));
    };
    let secret = Secret::required(plan.store)?;
    secret.check(&row.record)?;
    if row.record.key != assertion.key {
        return Ok(Err(PasskeyRefusal::Unknown));
    }
    if row.record.suspended.is_some() {
        return Ok(Err(PasskeyRefusal::Suspended));
    }
    if assertion.remember {
        plan.batch.insert(&PasskeyState::Spent { expires, challenge })?;
    }
    // Section 7.2, step 22: an authenticator that counts has counted on since its last use.
    if counter <= row.record.counter && (counter, row.record.counter) != (0, 0) {
        let suspended = secret.sealed(PasskeyRecord { suspended: Some(plan.now), ..row.record.clone() })?;
        plan.batch.replace(&row, &suspended)?;
        plan.notify(Event::of(user, EventKind::PasskeySuspended(PasskeyId::from_number(id))));
        let detail =
            format!("{}: counter {counter} after {}", PasskeyId::from_number(id), row.record.counter);
        let entry = Entry::of(Subject::User(user)).detail(detail);
        plan.record_outcome(AuditKind::PasskeySuspended, Outcome::Denied, plan.actor, entry)?;
        return Ok(Err(PasskeyRefusal::Cloned));
    }
    let used = secret.sealed(PasskeyRecord {
        counter,
        backed_up: assertion.backed_up,
        used: Some(plan.now),
        ..row.record.clone()
    })?;
    plan.batch.replace(&row, &used)?;
    Ok(Ok(PasskeyProof {
        user,
        passkey: PasskeyId::from_number(id),
        user_verified: assertion.user_verified,
        backup_eligible: used.backup_eligible,
    }))
}
