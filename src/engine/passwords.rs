//! Passwords: every path that sets one goes through `check_new_password`, `Engine::prepare` and `stage_new_password`.

use super::Engine;
use super::bookkeeping::Leftover;
use super::events::{Event, EventKind};
use super::login::tell_unverifiable;
use super::throttle::{Attempt, Fault};
use super::users::Users;
use super::warrant;
use super::write::{Entry, Mandate, Plan};
use crate::assurance::Method;
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::credential::{
    self, BreachCheck, BreachQuery, CredentialRecord, FormerPasswordRecord, PasswordPolicy, PasswordState,
};
use crate::crypto::{self, KeyId, Normal, Source, Verdict};
use crate::error::{Denial, Error, ErrorKind, PasswordProblem, Result};
use crate::factor::{FactorRecord, Secret};
use crate::id::{Key, UserId};
use crate::session::Client;
use crate::store::{self, Scan, Stored};
use crate::user::{self, ContactKind, ContactRecord, NewUser, UserRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Addresses of a user whose words a password may not be made of.
const ADDRESSES: usize = 64;

/// What the settings say about new passwords.
#[derive(Clone, Debug, Default)]
pub(crate) struct PasswordRules {
    pub(crate) policy: PasswordPolicy,
    pub(super) breach: Option<Arc<dyn BreachCheck>>,
    /// Whether a password is taken where the breach check fails.
    pub(super) accept_unchecked: bool,
}

/// A password that was checked and hashed, to be staged for the user that it was prepared for.
pub(crate) struct Prepared {
    phc: String,
    /// The revision of the password that it was compared with, where it must not have changed since; no revision where
    /// there was no password.
    based_on: Option<Option<u32>>,
    /// Why the breach check failed, where the password is taken all the same.
    unchecked: Option<String>,
    /// Whether the user knows it and nobody else, whoever stores it.
    own: bool,
    must_change: bool,
}

impl Prepared {
    /// A hash that another system made, of a password that only the user knows.
    pub(super) fn stored(phc: &str) -> Self {
        Self { phc: phc.to_owned(), based_on: None, unchecked: None, own: true, must_change: false }
    }

    /// The same, with why the breach check failed, where it did.
    #[cfg(feature = "import")]
    pub(super) fn unchecked(self, why: Option<String>) -> Self {
        Self { unchecked: why, ..self }
    }

    /// The same, to take the place of the password of that revision and of no other.
    pub(super) fn based_on(self, revision: u32) -> Self {
        Self { based_on: Some(Some(revision)), ..self }
    }
}

/// How much of what is stored needs a key of the [`Keyring`](crate::Keyring).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUse {
    /// The key; `None` for hashes without a pepper.
    pub key: Option<KeyId>,
    /// Hashes of present passwords.
    pub passwords: u64,
    /// Hashes of former passwords that are remembered.
    pub former: u64,
    /// Seeds of authenticator apps.
    pub seeds: u64,
    /// Of these hashes, present and former, those that can not be verified as the database was opened: the keyring lacks
    /// the key or has another one under its number, the feature `legacy` or the Firebase key for a hash of another system is
    /// missing, or the hash is damaged or takes more memory than the admission gate has. Logins with such a password are
    /// refused as if it were wrong.
    pub unverifiable: u64,
}

impl Users<'_> {
    /// Sets the password, the first one or another, and ends every session of the user.
    ///
    /// This is for the application and for administrators: it does not ask for the present password, as
    /// [`change_password`](Self::change_password) does. Through a handle that [acts as](crate::Portcullis::acting_as) another user
    /// or is [delegated](crate::Portcullis::delegated), the password is one that somebody else knows. It then must be changed at
    /// the next login, and opens nothing after the time that
    /// [`PasswordPolicy::issued_for`](crate::PasswordPolicy::issued_for) says (OWASP ASVS 5.0, 6.4.1 and 6.4.6).
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` on the field `password`, with the [reason](Error::password_problem), for one that the
    /// [policy](crate::PasswordPolicy) does not take; `Conflict` where it was compared with former passwords and another
    /// one was set meanwhile; `Mismatch` where a former one needs a key that the keyring lacks; `Busy`; the storage kinds.
    pub fn set_password(&self, id: UserId, password: &str) -> Result<()> {
        let engine = self.gate.engine();
        self.gate.refuse_as_somebody(id, AuditKind::PasswordChange)?;
        let account = user::read_user(&*engine.store, id)?.record;
        self.gate.rehearse(|plan| warrant::may_administer(plan, id, AuditKind::PasswordChange.name()))?;
        engine.check_new_password(&account, password)?;
        let prepared = engine.prepare_for(self.gate.actor(), id, password, Source::Administration)?;
        engine.write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, id, AuditKind::PasswordChange.name())?;
            engine.forget_failures(plan, id, Some(Method::Password))?;
            set_new_password(plan, &engine.passwords.policy, id, &prepared)
        })?;
        engine.sweep_after(Leftover::Sessions(id));
        Ok(())
    }

    /// Changes a user's own password: whoever asks must know the present one. Ends every session of the user.
    ///
    /// It is for an application that knows by itself who asks, and wants no session in return: one that keeps sessions of
    /// its own, or a tool for operators. Whoever holds a session calls
    /// [`Portcullis::change_password`](crate::Portcullis::change_password), which opens another one in its place.
    ///
    /// The new password lasts, also where the present one was issued by an administrator or is marked as compromised; it
    /// must differ from it then. What was refused is in the audit log.
    ///
    /// # Errors
    /// `NotFound`; `Denied` with [`Denial::Credentials`] for a present password that is wrong or has ended, and for a user
    /// that has none or is not active, and with [`Denial::Throttled`] after too many wrong ones; `Conflict` where the password was changed by somebody else meanwhile; otherwise as
    /// [`set_password`](Self::set_password). What can be told of the new password without a hash is told first.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
    /// assert!(gate.users().change_password(ada, "wrong", "another horse, another battery").is_err_and(|e| e.is_denied()));
    /// gate.users().change_password(ada, "correct horse battery staple", "another horse, another battery")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn change_password(&self, id: UserId, present: &str, new: &str) -> Result<()> {
        let engine = self.gate.engine();
        self.gate.refuse_as_somebody(id, AuditKind::PasswordChange)?;
        let account = user::read_user(&*engine.store, id)?.record;
        let prepared = engine.prepare_own(&account, present, new, &Client::new())?;
        engine.write(Actor::User(id), |plan| {
            let account = user::read_user(plan.store, id)?.record;
            if !account.status.is_active_at(plan.now) {
                return Err(Error::denied(Denial::Credentials));
            }
            engine.forget_failures(plan, id, Some(Method::Password))?;
            set_new_password(plan, &engine.passwords.policy, id, &prepared)
        })?;
        engine.sweep_after(Leftover::Sessions(id));
        Ok(())
    }

    /// Notes that somebody else may know the password: it must be changed at the next login, and every session of the
    /// user ends now (NIST SP 800-63B-4, section 3.1.1.2). Whoever else knows it can log in and change it just as well, so
    /// where that matters and the user has no second factor, set the [status](Self::set_status) instead.
    ///
    /// # Errors
    /// `NotFound` for a user that does not exist or has no password; the storage kinds.
    pub fn mark_password_compromised(&self, id: UserId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            user::read_user(plan.store, id)?;
            warrant::may_administer(plan, id, AuditKind::PasswordCompromised.name())?;
            credential::stage_compromised(plan.store, &mut plan.batch, id)?;
            user::stage_generation(plan.store, &mut plan.batch, id)?;
            plan.leave(Leftover::Sessions(id))?;
            plan.notify(Event::of(id, EventKind::PasswordCompromised));
            plan.record(AuditKind::PasswordCompromised, Entry::of(Subject::User(id)))
        })?;
        engine.sweep_after(Leftover::Sessions(id));
        Ok(())
    }

    /// When the password was set, and whether it must be changed; `None` for a user without one.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn password_state(&self, id: UserId) -> Result<Option<PasswordState>> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, id)?;
        let found = store::read::<CredentialRecord>(&*engine.store, &id)?;
        Ok(found.map(|Stored { record, .. }| PasswordState {
            changed: record.changed,
            must_change: credential::must_change(&record, &engine.passwords.policy, engine.now()),
            ends: record.ends,
        }))
    }

    /// How many password hashes and seeds of authenticator apps need which key, by key; hashes without a pepper come
    /// first. A key that is not in the list is needed no more, and [`KeyUse::unverifiable`] says what can not be verified as
    /// the database was opened. It reads all of them, a million in some seconds, which is why the open does not ask: ask
    /// when the keyring, the features or the admission memory have changed, before users do.
    ///
    /// # Errors
    /// The storage kinds.
    pub fn password_keys(&self) -> Result<Vec<KeyUse>> {
        let engine = self.gate.engine();
        let mut uses: BTreeMap<Option<KeyId>, KeyUse> = BTreeMap::new();
        let mut count = |key, of: fn(&mut KeyUse) -> &mut u64| {
            let unused = KeyUse { key, passwords: 0, former: 0, seeds: 0, unverifiable: 0 };
            *of(uses.entry(key).or_insert(unused)) += 1;
        };
        let mut hash = |phc: &str, of: fn(&mut KeyUse) -> &mut u64| {
            let key = crypto::pepper_of(phc).unwrap_or(None);
            count(key, of);
            if engine.hasher.check_stored(phc).is_err() {
                count(key, |found| &mut found.unverifiable);
            }
        };
        engine.each::<CredentialRecord>(|row| {
            hash(&row.record.phc, |found| &mut found.passwords);
            Ok(())
        })?;
        engine.each::<FormerPasswordRecord>(|row| {
            hash(&row.record.phc, |found| &mut found.former);
            Ok(())
        })?;
        engine.each::<FactorRecord>(|row| {
            if let Secret::Totp { sealed, .. } = &row.record.secret {
                count(Some(crypto::sealed_with(sealed)?), |found| &mut found.seeds);
            }
            Ok(())
        })?;
        Ok(uses.into_values().collect())
    }
}

impl Engine {
    /// Prepares a change of the user's own: the rules for the new password, then the present one, then what is dear.
    ///
    /// # Errors
    /// As [`verify_present`](Self::verify_present) and [`prepare_for`](Self::prepare_for); `InvalidInput` for either password
    /// that breaks a rule.
    pub(super) fn prepare_own(
        &self,
        account: &UserRecord,
        present: &str,
        new: &str,
        client: &Client,
    ) -> Result<Prepared> {
        Normal::of(present)?;
        self.check_new_password(account, new)?;
        let revision = self.verify_present(account, present, client)?;
        let (by, source) = (Actor::User(account.id), Source::of(client.ip));
        Ok(self.prepare_for(by, account.id, new, source)?.based_on(revision))
    }

    /// Whether this is the user's present password, and the revision of it.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Credentials`], whatever is wrong; the audit log has the reason.
    fn verify_present(&self, account: &UserRecord, present: &str, client: &Client) -> Result<u32> {
        let (id, source) = (account.id, Source::of(client.ip));
        let admission = self.admit(&Attempt::inside(id, Method::Password, client))?.map_err(Error::denied)?;
        let credential = store::read::<CredentialRecord>(&*self.store, &id)?.map(|row| row.record);
        let phc = credential.as_ref().map(|credential| credential.phc.as_str());
        let verdict = self.hasher.judge(present, phc, source)?;
        let verified = matches!(verdict, Verdict::Right);
        let now = self.now();
        let why = match &credential {
            None => "the user has no password",
            Some(_) if matches!(verdict, Verdict::Unverifiable(_)) => {
                "the stored password hash can not be verified"
            }
            Some(_) if !verified => "wrong password",
            Some(credential) if credential::has_ended(credential, now) => "the password has ended",
            Some(_) if !account.status.is_active_at(now) => "the user is not active",
            Some(_) if admission.is_stopped(id)? => "too many failures in a row",
            Some(credential) => return Ok(credential.revision),
        };
        if let Some(phc) = phc.filter(|_| verified) {
            self.hasher.as_if_wrong(present, phc, source)?;
        }
        let detail = format!("{why}{}", admission.refused_before());
        self.write(Actor::Anonymous, |plan| {
            let entry = Entry::of(Subject::User(id)).detail(detail.as_str());
            plan.record_outcome(AuditKind::PasswordChangeRefused, Outcome::Denied, Actor::Anonymous, entry)?;
            if let Verdict::Unverifiable(why) = &verdict {
                tell_unverifiable(plan, id, why, client)?;
            }
            admission.failed(plan, Some(id), Fault::Wrong)
        })?;
        Err(Error::denied(Denial::Credentials))
    }

    /// Whether the policy takes the password for a user that exists: what needs neither a hash nor the breach check.
    ///
    /// # Errors
    /// `InvalidInput` on the field `password`, with the reason; the storage kinds.
    pub(crate) fn check_new_password(&self, user: &UserRecord, password: &str) -> Result<()> {
        user.refuse_service("password")?;
        let prefix = user.id.bytes();
        let scan = Scan { prefix: &prefix, limit: ADDRESSES, ..Scan::default() };
        let (contacts, _) = store::page::<ContactRecord>(&*self.store, &scan)?;
        let addresses = contacts.iter().filter(|contact| contact.record.kind == ContactKind::Email);
        let mut words = vec![user.login.as_str()];
        words.extend(addresses.map(|contact| contact.record.value.as_str()));
        self.passwords.policy.check(password, &words)
    }

    /// The same for a user that is to be made.
    pub(super) fn check_first_password(&self, user: &NewUser, password: &str) -> Result<()> {
        let addresses = user.contacts.iter().filter(|contact| contact.kind == ContactKind::Email);
        let mut words = vec![user.login.as_str()];
        words.extend(addresses.map(|contact| contact.value.as_str()));
        self.passwords.policy.check(password, &words)
    }

    /// Does what is dear with a password that [`check_new_password`](Self::check_new_password) took: the breach check,
    /// once, the comparison with former passwords, and the hash. To be called outside of a plan; nothing is changed.
    ///
    /// # Errors
    /// `InvalidInput` on the field `password`, with the reason; `Mismatch` where a former password needs a key that the
    /// keyring lacks; `Busy`; the storage kinds.
    pub(crate) fn prepare_for(
        &self,
        by: impl Into<Mandate>,
        user: UserId,
        password: &str,
        source: Source,
    ) -> Result<Prepared> {
        self.hasher.not_on_trial()?;
        let unchecked = self.ask_about_breaches(by, Some(user), password)?;
        let based_on = self.refuse_former(user, password, source)?;
        Ok(Prepared {
            phc: self.hasher.hash(password, source)?,
            based_on,
            unchecked,
            own: false,
            must_change: false,
        })
    }

    /// What to store of the secret of a user that is to be made: the hash of a password, or one that another system made.
    pub(super) fn first_secret(&self, by: impl Into<Mandate>, user: &NewUser) -> Result<Option<Prepared>> {
        let unchecked = match &user.password {
            Some(password) => self.ask_about_breaches(by, None, password.expose())?,
            None => None,
        };
        self.hash_first_secret(user, unchecked)
    }

    /// The same where the breach check was asked already; why it failed, if it did.
    pub(super) fn hash_first_secret(
        &self,
        user: &NewUser,
        unchecked: Option<String>,
    ) -> Result<Option<Prepared>> {
        let must_change = user.must_change;
        Ok(match (&user.password, &user.password_hash) {
            (Some(password), _) => {
                let phc = self.hasher.hash(password.expose(), Source::Administration)?;
                Some(Prepared { phc, based_on: None, unchecked, own: false, must_change })
            }
            (None, Some(stored)) => Some(Prepared { must_change, ..Prepared::stored(stored.expose()) }),
            (None, None) => None,
        })
    }

    /// As [`breached`](Self::breached), and writes down that a password was refused because the check failed.
    pub(super) fn ask_about_breaches(
        &self,
        by: impl Into<Mandate>,
        user: Option<UserId>,
        password: &str,
    ) -> Result<Option<String>> {
        let asked = self.breached(password);
        if let Err(error) = &asked
            && error.password_problem() == Some(PasswordProblem::NotChecked)
        {
            let why = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
            self.write(by.into().for_the_log(), |plan| {
                let mut entry = breach_check_failed(&why);
                entry.subject = user.map(Subject::User);
                plan.record_outcome(AuditKind::BreachCheckFailed, Outcome::Denied, plan.actor, entry)
            })?;
        }
        asked
    }

    /// Refuses what was breached. Why the check failed, where the password is taken all the same.
    pub(super) fn breached(&self, password: &str) -> Result<Option<String>> {
        let Some(breach) = &self.passwords.breach else { return Ok(None) };
        let password = Normal::of(password)?;
        match breach.times_seen(&BreachQuery::of(&password)) {
            Ok(0) => Ok(None),
            Ok(_) => Err(Error::password(
                PasswordProblem::Breached,
                "is among those that were made public by breaches elsewhere; take another one",
            )),
            Err(error) if self.passwords.accept_unchecked => Ok(Some(error.to_string())),
            Err(error) => {
                let message =
                    "could not be compared with those that were made public by breaches; try again later";
                Err(Error::password(PasswordProblem::NotChecked, message).caused_by(error))
            }
        }
    }

    /// Refuses a password that the user has or had, as far as the policy says, and always the present one where it must be
    /// changed. What that was decided from.
    fn refuse_former(&self, user: UserId, password: &str, source: Source) -> Result<Option<Option<u32>>> {
        let policy = &self.passwords.policy;
        let present = store::read::<CredentialRecord>(&*self.store, &user)?.map(|row| row.record);
        let now = self.now();
        let due = present.as_ref().is_some_and(|present| {
            credential::must_change(present, policy, now).is_some() || credential::has_ended(present, now)
        });
        let compared = policy.remembered().max(usize::from(due));
        if compared == 0 {
            return Ok(None);
        }
        let former = credential::former_passwords(&*self.store, user)?;
        let former = former.iter().map(|former| former.record.phc.as_str()).take(compared.saturating_sub(1));
        for phc in present.iter().map(|present| present.phc.as_str()).chain(former) {
            if self.hasher.verify(password, Some(phc), source)? {
                return Err(Error::password(
                    PasswordProblem::Reused,
                    "is one that the user has or had not long ago; take another one",
                ));
            }
        }
        Ok(Some(present.map(|present| present.revision)))
    }
}

fn breach_check_failed(why: &str) -> Entry {
    let mut why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
    why.insert_str(0, "the check for breached passwords failed: ");
    Entry::default().detail(why)
}

/// Stages a prepared password for the user that it was prepared for, and the record of a breach check that failed. It
/// lasts, unless somebody else than the user sets it. Says which; the caller writes the record of the change, and ends
/// sessions.
///
/// # Errors
/// `Conflict` where the password that it was compared with is not the present one any more.
pub(crate) fn stage_new_password(
    plan: &mut Plan<'_>,
    policy: &PasswordPolicy,
    user: UserId,
    prepared: &Prepared,
) -> Result<&'static str> {
    // A new user is not there yet, and was looked at before.
    if let Some(account) = store::read::<UserRecord>(plan.store, &user)? {
        account.record.refuse_service("password")?;
    }
    if let Some(due) = prepared.based_on {
        let found = store::read::<CredentialRecord>(plan.store, &user)?.map(|row| row.record.revision);
        // The commit expects the row that `stage_password` reads, so that it is this one.
        if found != due {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the password of {user} was set by somebody else meanwhile; try again"),
            ));
        }
    }
    let issued = !prepared.own
        && match plan.actor {
            Actor::User(actor) => actor != user,
            _ => plan.is_delegated(),
        };
    let new = CredentialRecord {
        user,
        phc: prepared.phc.clone(),
        revision: 0,
        changed: plan.now,
        must_change: (issued || prepared.must_change).then_some(credential::MustChange::Issued),
        ends: issued.then(|| plan.now.saturating_add(policy.issued_life())),
    };
    credential::stage_password(plan.store, &mut plan.batch, &new, policy)?;
    if let Some(why) = &prepared.unchecked {
        let mut entry = breach_check_failed(why);
        entry.subject = Some(Subject::User(user));
        plan.record(AuditKind::BreachCheckFailed, entry)?;
    }
    Ok(if issued { "to be changed at the next login" } else { "" })
}

/// The same with the end of every session and the audit record.
fn set_new_password(
    plan: &mut Plan<'_>,
    policy: &PasswordPolicy,
    user: UserId,
    prepared: &Prepared,
) -> Result<()> {
    user::stage_generation(plan.store, &mut plan.batch, user)?;
    let detail = stage_new_password(plan, policy, user, prepared)?;
    plan.leave(Leftover::Sessions(user))?;
    plan.notify(Event::of(user, EventKind::PasswordChanged));
    plan.record(AuditKind::PasswordChange, Entry::of(Subject::User(user)).detail(detail))
}
