//! Passkeys: registering, listing, renaming and removing them; what a login asks of them is in `assertion`.

mod assertion;
#[cfg(feature = "testing")]
mod probe;

pub(in crate::engine) use assertion::{Assertion, PasskeyProof, PasskeyRefusal, stage_assertion};
#[cfg(feature = "testing")]
pub(crate) use probe::{
    finish_assertion as probe_assertion, finish_login as probe_login,
    start_assertion as probe_start_assertion, start_login as probe_start_login,
};

use super::events::{Event, EventKind};
use super::warrant;
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::audit::{AuditKind, Subject};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::passkey::{
    CHALLENGE, MAX_PASSKEYS, OpenRegistration, PASSKEY_BY_CREDENTIAL, Passkey, PasskeyId, PasskeyRecord,
    PasskeyRegistration, PasskeyState, RelyingParty, Secret, StateKey, credential_key, passkeys_of,
};
use crate::secret::{equal, random};
use crate::store::{self, Stored};
use crate::text;
use crate::user;
use base64_simd::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Random bytes of a registration's ticket.
const TICKET: usize = 32;

/// Registers, lists and removes passkeys; get it from [`Portcullis::passkeys`].
///
/// A user has 16 at most. A credential belongs to one user, for as long as it is registered. What is stored of it, its
/// public key above all, is sealed: a row that was changed behind the engine's back is refused as
/// [`Damaged`](crate::ErrorKind::Damaged).
///
/// Registering takes a page that the user is logged in to, and a line or two of JavaScript:
///
/// ```no_run
/// # fn main() -> portcullis::Result<()> {
/// # fn answer_of_the_browser(_: &str) -> String { String::new() }
/// use portcullis::{NewUser, PasskeySettings, Portcullis};
/// let settings = PasskeySettings::new("example.org", ["https://login.example.org"]);
/// let gate = Portcullis::builder().passkeys(settings).in_memory()?;
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
///
/// let started = gate.passkeys().start_registration(ada)?;
/// // The ticket stays in the session; the options go to the browser, which runs
/// //   const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
/// //   const credential = await navigator.credentials.create({ publicKey });
/// // and sends back JSON.stringify(credential.toJSON()).
/// let response = answer_of_the_browser(&started.options);
/// let passkey = gate.passkeys().finish_registration(ada, &started.ticket, &response, "my phone")?;
/// gate.passkeys().remove(ada, passkey.id)?; // refused from the very next use on
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Passkeys<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Passkeys<'_> {
    /// Starts the registration of a passkey by a user who is logged in. It takes the place of one that the user has
    /// started before and not finished. Ask the user for the password or another passkey first if the login was a while
    /// ago: who registers a passkey can be the user from then on.
    ///
    /// # Errors
    /// `NotFound` for the user; `LimitExceeded` for a user with 16 passkeys; `InvalidInput` where no
    /// [relying party](crate::Builder::passkeys) is set; `Denied` for a delegated handle; the storage kinds.
    pub fn start_registration(&self, user: UserId) -> Result<PasskeyRegistration> {
        let engine = self.gate.engine();
        let party = engine.relying_party()?;
        let ticket = random::<TICKET>(&*engine.entropy)?;
        let challenge = *random::<CHALLENGE>(&*engine.entropy)?;
        let (options, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "register a passkey")?;
            let account = user::read_user(plan.store, user)?;
            account.record.refuse_service("passkey")?;
            let secret = Secret::read_or_stage(plan.store, &mut plan.batch, &*engine.entropy)?;
            let held = passkeys_of(plan.store, user)?;
            check_count(held.len())?;
            let open = PasskeyState::Open(OpenRegistration {
                user,
                ticket: blake3::hash(ticket.as_slice()).into(),
                challenge,
                generation: account.record.generation,
                expires: plan.now.saturating_add(party.timeout()),
            });
            match store::read::<PasskeyState>(plan.store, &StateKey::Open(user))? {
                Some(old) => plan.batch.replace(&old, &open)?,
                None => plan.batch.insert(&open)?,
            }
            plan.batch.expect_unchanged(&account);
            let held: Vec<&PasskeyRecord> = held.iter().map(|row| &row.record).collect();
            party.creation_options(&challenge, &secret.user_handle(user), &account.record.login, &held)
        })?;
        Ok(PasskeyRegistration { options, ticket: URL_SAFE_NO_PAD.encode_to_string(ticket.as_slice()) })
    }

    /// Registers the passkey that a browser answered with, under a label of the user's, 1 to 128 bytes.
    ///
    /// Nothing is changed by an answer that is refused: the registration stays open until its time is over. It ends
    /// with the user's sessions, too: whoever changes the password shuts out a registration that somebody else started.
    ///
    /// # Errors
    /// `NotFound` for a ticket that is not of an open registration of this user; `InvalidInput` for an answer that does
    /// not follow the standard or is not to this question, for one above 16 KiB before it is looked at, and for the
    /// label; `AlreadyExists` where the credential is registered already, by whomever; `LimitExceeded` for the 17th;
    /// `Denied` for a delegated handle; the storage kinds.
    pub fn finish_registration(
        &self,
        user: UserId,
        ticket: &str,
        response: &str,
        label: &str,
    ) -> Result<Passkey> {
        let engine = self.gate.engine();
        let party = engine.relying_party()?;
        text::name("label", label)?;
        self.gate.rehearse(|plan| {
            warrant::only_the_application(plan, Subject::User(user), "register a passkey")
        })?;
        let ticket = ticket_digest(ticket);
        let (_, open) = engine.open_registration(user, &ticket)?;
        let secret = Secret::required(&*engine.store)?;
        // Before the commit, because it takes a signature's time; the commit decides by the same row.
        let new = party.verify_creation(&open.challenge, &secret.user_handle(user), response)?;
        let (record, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "register a passkey")?;
            let account = user::read_user(plan.store, user)?;
            let (row, present) = engine.open_registration(user, &ticket)?;
            if present != open || present.generation != account.record.generation {
                return Err(no_registration());
            }
            // INVARIANT: a user has one open registration, and each passkey takes one with it. So nobody else registers
            // one for this user between the count and the commit.
            check_count(passkeys_of(plan.store, user)?.len())?;
            if plan.store.get(PASSKEY_BY_CREDENTIAL, &credential_key(&new.credential))?.is_some() {
                return Err(Error::exists("response", "registers a credential that is registered already"));
            }
            let record = secret.sealed(PasskeyRecord {
                user,
                id: u64::from_be_bytes(*random::<8>(&*engine.entropy)?),
                credential: new.credential.clone(),
                key: new.key.clone(),
                algorithm: new.algorithm,
                transports: new.transports,
                counter: new.counter,
                backup_eligible: new.backup_eligible,
                backed_up: new.backed_up,
                user_verified: new.user_verified,
                discoverable: new.discoverable,
                label: label.to_owned(),
                created: plan.now,
                used: None,
                suspended: None,
                seal: [0; 32],
            })?;
            plan.batch.remove(&row);
            plan.batch.insert(&record)?;
            // As whatever changes which factors count for a user.
            user::stage_touch(plan.store, &mut plan.batch, user, plan.now)?;
            plan.notify(Event::of(user, EventKind::PasskeyChanged(PasskeyId::from_number(record.id))));
            plan.record(AuditKind::PasskeyRegistered, entry_of(&record))?;
            Ok(record)
        })?;
        Ok(record.into())
    }

    /// The passkeys of a user, the oldest first; there are 16 at most.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn of_user(&self, user: UserId) -> Result<Vec<Passkey>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        let mut found: Vec<Passkey> =
            passkeys_of(store, user)?.into_iter().map(|row| row.record.into()).collect();
        found.sort_by_key(|passkey| (passkey.created, passkey.id));
        Ok(found)
    }

    /// Gives a passkey another label, 1 to 128 bytes.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for the label; the storage kinds.
    pub fn rename(&self, user: UserId, id: PasskeyId, label: &str) -> Result<Passkey> {
        text::name("label", label)?;
        let (record, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "rename a passkey")?;
            let old = read_passkey(plan, user, id)?;
            let secret = Secret::required(plan.store)?;
            // A row that was changed behind the engine's back must not be sealed anew.
            secret.check(&old.record)?;
            let record = secret.sealed(PasskeyRecord { label: label.to_owned(), ..old.record.clone() })?;
            plan.batch.replace(&old, &record)?;
            plan.record(AuditKind::PasskeyRenamed, entry_of(&record))?;
            Ok(record)
        })?;
        Ok(record.into())
    }

    /// Removes a passkey: it is refused from the very next use on, in every thread. Sessions that it opened go on; end
    /// them with [`Sessions::revoke_all`](crate::Sessions::revoke_all).
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn remove(&self, user: UserId, id: PasskeyId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "remove a passkey")?;
            let old = read_passkey(plan, user, id)?;
            plan.batch.remove(&old);
            user::stage_touch(plan.store, &mut plan.batch, user, plan.now)?;
            plan.notify(Event::of(user, EventKind::PasskeyChanged(id)));
            plan.record(AuditKind::PasskeyRemoved, entry_of(&old.record))
        })?;
        Ok(())
    }
}

impl Portcullis {
    /// Passkeys.
    #[must_use]
    pub fn passkeys(&self) -> Passkeys<'_> {
        Passkeys { gate: self }
    }
}

impl Engine {
    fn relying_party(&self) -> Result<&RelyingParty> {
        self.relying_party.as_ref().ok_or_else(|| {
            Error::invalid("passkeys", "no relying party is set; give its settings to Builder::passkeys")
        })
    }

    /// The user's open registration, if that is its ticket.
    fn open_registration(
        &self,
        user: UserId,
        ticket: &[u8; 32],
    ) -> Result<(Stored<PasskeyState>, OpenRegistration)> {
        let Some(row) = store::read::<PasskeyState>(&*self.store, &StateKey::Open(user))? else {
            return Err(no_registration());
        };
        match &row.record {
            PasskeyState::Open(open) if equal(&open.ticket, ticket) && self.now() < open.expires => {
                let open = open.clone();
                Ok((row, open))
            }
            _ => Err(no_registration()),
        }
    }
}

fn no_registration() -> Error {
    Error::not_found("ticket", "a registration of this user under this ticket (any more); start another one:")
}

/// What the row keeps of a ticket. A text that is none has a digest, too, which no row has.
fn ticket_digest(text: &str) -> [u8; 32] {
    let bytes = if text.len() <= 64 { URL_SAFE_NO_PAD.decode_to_vec(text).ok() } else { None };
    blake3::hash(&Zeroizing::new(bytes.unwrap_or_default())).into()
}

fn check_count(held: usize) -> Result<()> {
    match held < MAX_PASSKEYS {
        true => Ok(()),
        false => Err(Error::limit(
            "passkeys",
            format!("the user has {held}; {MAX_PASSKEYS} are kept, so remove one that is not used any more"),
        )),
    }
}

fn read_passkey(plan: &Plan<'_>, user: UserId, id: PasskeyId) -> Result<Stored<PasskeyRecord>> {
    store::read(plan.store, &(user, id.get()))?
        .ok_or_else(|| Error::not_found("passkey", format_args!("{id} of {user}")))
}

fn entry_of(record: &PasskeyRecord) -> Entry {
    let id = PasskeyId::from_number(record.id);
    Entry::of(Subject::User(record.user)).detail(format!("{id}: {}", record.label))
}
