//! User management.

use super::Portcullis;
use super::bookkeeping::Leftover;
use super::events::{Event, EventKind};
use super::guard;
use super::impersonation;
use super::page::{Page, PageRequest};
use super::passwords::stage_new_password;
use super::warrant;
use super::write::{Entry, Mandate, Plan};
use crate::audit::{AuditKind, Subject};
use crate::error::{Error, Result};
use crate::id::{ContactId, Key, ScopeId, UserId};
use crate::permission::PermissionSet;
use crate::scope;
use crate::store::{self, Batch, MAX_OPERATIONS, Record};
use crate::text;
use crate::user::{
    self, Attributes, AttributesRecord, Contact, ContactRecord, NewContact, NewUser, Section, Status,
    StatusKind, User, UserChange, UserRecord,
};
use std::collections::BTreeSet;

/// What a new user's commit takes besides the user: the credential, the audit record with its index rows, and where the
/// breach check failed another one.
const OPERATIONS_BESIDE: usize = 10;
/// The audit record of a name that looks like another's, with its index rows.
const OPERATIONS_OF_A_WARNING: usize = 5;
/// What a commit expects besides: the tree of scopes, and for a delegated actor the account, hierarchy and delegations, and
/// the account of whoever acts as that actor.
const AUTHORITY: usize = 6;

/// Creates, finds, changes and deletes users; get it from [`Portcullis::users`].
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{NewUser, Portcullis, UserChange};
/// let gate = Portcullis::in_memory()?;
/// let ada = gate.users().create(NewUser::new("Ada").email("ada@example.org").profile("team", "engines"))?;
/// assert_eq!(gate.users().find("ADA")?, Some(ada.clone()));
/// let renamed = gate.users().update(ada.id, UserChange::new().expect(ada.stamp).login("countess"))?;
/// assert_eq!(renamed.login, "countess");
/// // The stamp is from before the rename, so this change is refused.
/// assert!(gate.users().update(ada.id, UserChange::new().expect(ada.stamp).login("x")).is_err_and(|e| e.is_conflict()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Users<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Users<'_> {
    /// Creates a user.
    ///
    /// # Errors
    /// `InvalidInput` names the field that breaks a rule, for a password with the [reason](Error::password_problem), and
    /// `password_hash` where its scheme is refused; `AlreadyExists` where the login name is taken, looks like another
    /// user's ([`ConfusableNames`](crate::ConfusableNames)) or is another's verified e-mail address, and where a contact
    /// that is verified from the start is the verified address or the login name of another user; `LimitExceeded` for too
    /// many or too long details, and for a hash that would cost too much to verify; `Mismatch` for a hash without the key
    /// for it; `Busy` where no password hash could be computed in time;
    /// the storage kinds.
    pub fn create(&self, new: NewUser) -> Result<User> {
        let mut users = self.create_many([new])?;
        users.pop().ok_or_else(|| Error::damaged("a created user was not returned"))
    }

    /// Creates many users, several to a commit. Each user is created whole or not at all; at the first error the
    /// users of the commits before it stay, and the error is about one of those after.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_many(&self, new: impl IntoIterator<Item = NewUser>) -> Result<Vec<User>> {
        let mut created = Vec::new();
        let (mut group, mut operations) = (Vec::new(), 0);
        for user in new {
            let needed = self.try_out(&user)?;
            if operations + needed > MAX_OPERATIONS - AUTHORITY {
                created.extend(self.create_group(&group)?);
                group.clear();
                operations = 0;
            }
            operations += needed;
            group.push(user);
        }
        created.extend(self.create_group(&group)?);
        Ok(created)
    }

    /// Refuses what can be refused before a password hash is paid for; how many operations the user's commit takes.
    fn try_out(&self, user: &NewUser) -> Result<usize> {
        let engine = self.gate.engine();
        if user.password_hash.is_some() {
            // Whoever gives a hash may know its password, which no rule was applied to and which would last.
            self.gate.refuse_delegated("give a user a password hash")?;
        }
        self.check_secret(user)?;
        let mut trial = Batch::new();
        // A number that nobody has, so that every row is another's.
        let nobody = UserId::from_number(u64::MAX);
        let (_, like) =
            user::stage_create(&*engine.store, &mut trial, nobody, user, engine.now(), engine.names)?;
        let warning = if like.is_some() { OPERATIONS_OF_A_WARNING } else { 0 };
        // One more index row a record, where somebody acts as the actor.
        let behind = usize::from(self.gate.impersonator.is_some());
        // For each home, the assignment by which a delegated actor administers it.
        let homes = usize::from(self.gate.delegated) * (1 + behind);
        Ok(trial.operations() + OPERATIONS_BESIDE + warning + homes + 3 * behind)
    }

    /// Refuses a password that breaks a rule, and a hash that can not be verified.
    pub(super) fn check_secret(&self, user: &NewUser) -> Result<()> {
        if user.service && (user.password.is_some() || user.password_hash.is_some() || user.must_change) {
            let message = "is given for a service account, which has none; give it an API key";
            return Err(Error::invalid("password", message));
        }
        match (&user.password, &user.password_hash) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("password_hash", "is given beside a password; give one of the two"))
            }
            (Some(password), None) => self.gate.engine().check_first_password(user, password.expose()),
            (None, Some(stored)) => self.gate.engine().hasher.check_stored(stored.expose()).map(drop),
            (None, None) if user.must_change => Err(Error::invalid(
                "must_change",
                "is set for a user without a password; there is none to change",
            )),
            (None, None) => Ok(()),
        }
    }

    fn create_group(&self, group: &[NewUser]) -> Result<Vec<User>> {
        let engine = self.gate.engine();
        let homes: BTreeSet<ScopeId> = group.iter().map(|user| user.home).collect();
        self.gate.rehearse(|plan| warrant::may_create_users(plan, &homes))?;
        let mut fresh = Vec::with_capacity(group.len());
        for user in group {
            let prepared = engine.first_secret(self.gate.actor(), user)?;
            fresh.push((engine.user_ids.next(&*engine.store)?, prepared));
        }
        let (records, stamp) = engine.write(self.gate.actor(), |plan| {
            expect_homes(plan, &homes)?;
            warrant::may_create_users(plan, &homes)?;
            let mut records: Vec<UserRecord> = Vec::with_capacity(group.len());
            for (user, (id, prepared)) in group.iter().zip(&fresh) {
                let (record, like) =
                    user::stage_create(plan.store, &mut plan.batch, *id, user, plan.now, engine.names)?;
                warn_of_likeness(plan, &record, like)?;
                if let Some(prepared) = prepared {
                    stage_new_password(plan, &engine.passwords.policy, *id, prepared)?;
                }
                plan.record(
                    AuditKind::UserCreated,
                    Entry::of(Subject::User(*id)).detail(record.login.as_str()),
                )?;
                records.push(record);
            }
            Ok(records)
        })?;
        Ok(records.into_iter().map(|record| record.public(stamp)).collect())
    }

    /// The user of that number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, id: UserId) -> Result<User> {
        user::read_user(&*self.gate.engine().store, id).map(User::from)
    }

    /// The user of that login name, in whatever case it is written.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a login name; the storage kinds.
    pub fn find(&self, login: &str) -> Result<Option<User>> {
        let key = store::index_prefix(&text::canonical_login(login)?);
        Ok(store::find::<UserRecord>(&*self.gate.engine().store, user::USER_BY_LOGIN, &key)?.map(User::from))
    }

    /// Users who gave that e-mail address, verified or not; the local part in whatever case, unless
    /// [`EmailLocalPart`](crate::EmailLocalPart) says otherwise, and an internationalised domain in whatever form.
    ///
    /// Send what is confidential to the address as the user gave it ([`Contact::value`](crate::Contact)), never to the one
    /// that was looked for: two spellings that are found as one may be two mailboxes.
    ///
    /// # Errors
    /// `InvalidInput` for what is no e-mail address or a wrong page; the storage kinds.
    pub fn by_email(&self, address: &str, page: &PageRequest) -> Result<Page<User>> {
        let store = &*self.gate.engine().store;
        let (email, rules) = (text::email(address)?, self.gate.engine().names);
        let prefix = store::index_prefix(&email.found);
        let (contacts, next) = store::page_by::<ContactRecord>(
            store,
            user::USER_CONTACT_BY_EMAIL,
            &page.scan(user::USER_CONTACT_BY_EMAIL, &prefix)?,
        )?;
        let mut users: Vec<User> = Vec::with_capacity(contacts.len());
        // A user may have the address twice, also where a page ends between the two.
        let mut last = page.last_key().and_then(|key| key.get(prefix.len()..)?.first_chunk()).copied();
        for contact in contacts.iter().filter(|contact| user::is_meant(&contact.record, &email, rules)) {
            let id = contact.record.user;
            if last.replace(id.get().to_be_bytes()) != last {
                // A deleted user may have a contact that is not swept yet.
                users.extend(store::read::<UserRecord>(store, &id)?.map(User::from));
            }
        }
        Ok(Page::new(users, user::USER_CONTACT_BY_EMAIL, next))
    }

    /// Users in a state, by number. A lock whose time is over still lists as locked until somebody changes it.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_status(&self, status: StatusKind, page: &PageRequest) -> Result<Page<User>> {
        self.page_by(user::USER_BY_STATUS, &status.number().bytes(), page)
    }

    /// Service accounts, by number.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn service_accounts(&self, page: &PageRequest) -> Result<Page<User>> {
        self.page_by(user::USER_BY_STATUS, &user::SERVICE_ACCOUNTS.bytes(), page)
    }

    /// All users, by the time they were created.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<User>> {
        self.page_by(user::USER_BY_CREATION, &[], page)
    }

    fn page_by(&self, index: store::Table, prefix: &[u8], page: &PageRequest) -> Result<Page<User>> {
        let (users, next) =
            store::page_by::<UserRecord>(&*self.gate.engine().store, index, &page.scan(index, prefix)?)?;
        Ok(Page::new(users.into_iter().map(User::from).collect(), index, next))
    }

    /// Changes the login name, profile or preferences.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the expected stamp is not the present one; `AlreadyExists` where the new name is
    /// taken, looks like another user's or is another's verified e-mail address; `InvalidInput` or `LimitExceeded` names the field; the storage kinds.
    pub fn update(&self, id: UserId, change: UserChange) -> Result<User> {
        let fields: Vec<&str> = [
            change.login.as_ref().map(|_| "login"),
            change.profile.as_ref().map(|_| "profile"),
            change.preferences.as_ref().map(|_| "preferences"),
            change.home.map(|_| "home"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let fields = fields.join(", ");
        let rules = self.gate.engine().names;
        let (record, stamp) = self.gate.engine().write(self.gate.actor(), move |plan| {
            let homes: BTreeSet<ScopeId> = change.home.into_iter().collect();
            expect_homes(plan, &homes)?;
            match change.home {
                None => warrant::may_administer(plan, id, "change a user")?,
                // A home says who administers, which is for the application to say.
                Some(_) => {
                    warrant::only_the_application(plan, Subject::User(id), "give a user another home")?
                }
            }
            let UserRecord { login: old, home, .. } = user::read_user(plan.store, id)?.record;
            if change.home.is_some_and(|new| new != home) {
                impersonation::before_another_home(plan, id)?;
            }
            let (record, like) =
                user::stage_change(plan.store, &mut plan.batch, id, &change, plan.now, rules)?;
            warn_of_likeness(plan, &record, like)?;
            let renamed =
                if old == record.login { String::new() } else { format!(": {old} is now {}", record.login) };
            if old != record.login {
                plan.notify(Event::of(id, EventKind::LoginNameChanged));
            }
            let entry = Entry::of(Subject::User(id)).detail(format!("{fields}{renamed}"));
            plan.record(AuditKind::UserUpdated, entry)?;
            Ok(record)
        })?;
        Ok(record.public(stamp))
    }

    /// Sets the status. Leaving the active state ends every session of the user for good, at the very next check.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a reason or an end that breaks a rule; `LastHolder` where a protected role would
    /// have no active holder left at some scope, be it for a time only; the storage kinds.
    pub fn set_status(&self, id: UserId, status: Status) -> Result<User> {
        let detail = match &status.reason {
            Some(reason) => format!("{:?}: {reason}", status.kind),
            None => format!("{:?}", status.kind),
        };
        let user = self.change(AuditKind::UserStatusChanged, id, &detail, move |plan| {
            let record = user::stage_status(plan.store, &mut plan.batch, id, &status, plan.now)?;
            if !status.is_active_at(plan.now) {
                guard::before_leaving(plan, &user::read_user(plan.store, id)?)?;
                plan.leave(Leftover::Sessions(id))?;
            }
            plan.notify(Event::of(id, EventKind::StatusChanged(status.kind)));
            Ok(record)
        })?;
        self.gate.engine().sweep_after(Leftover::Sessions(id));
        Ok(user)
    }

    fn change(
        &self,
        kind: AuditKind,
        id: UserId,
        detail: &str,
        mut stage: impl FnMut(&mut Plan<'_>) -> Result<UserRecord>,
    ) -> Result<User> {
        let (record, stamp) = self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, id, kind.name())?;
            let record = stage(plan)?;
            plan.record(kind, Entry::of(Subject::User(id)).detail(detail))?;
            Ok(record)
        })?;
        Ok(record.public(stamp))
    }

    /// Everything that the user may do everywhere, through roles and without, whatever the user's status.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn permissions(&self, id: UserId) -> Result<PermissionSet> {
        let engine = self.gate.engine();
        user::read_user(&*engine.store, id)?;
        Ok(engine.view.permissions_of_user(id, engine.seconds()))
    }

    /// The user's profile; empty if nothing was ever set.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn profile(&self, id: UserId) -> Result<Attributes> {
        self.attributes(id, Section::Profile)
    }

    /// The user's preferences; empty if nothing was ever set.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn preferences(&self, id: UserId) -> Result<Attributes> {
        self.attributes(id, Section::Preferences)
    }

    fn attributes(&self, id: UserId, section: Section) -> Result<Attributes> {
        let store = &*self.gate.engine().store;
        user::read_user(store, id)?;
        let found = store::read::<AttributesRecord>(store, &(id, section as u8))?;
        Ok(found.map(|found| found.record.values).unwrap_or_default())
    }

    /// Adds a contact detail.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` names the field that breaks a rule; for one that is verified from the start
    /// `AlreadyExists` as of [`verify_contact`](Self::verify_contact); the storage kinds.
    pub fn add_contact(&self, id: UserId, contact: &NewContact) -> Result<Contact> {
        self.contact_change(id, "contact added", |plan| {
            user::stage_contact(plan.store, &mut plan.batch, id, contact, plan.now)
        })
    }

    /// Notes that the user has proved to hold a contact, as of now. By a verified e-mail address the user logs in, until the
    /// contact is removed.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for an e-mail address that another user has verified or has as the login name, or that
    /// is verified as another contact of the user; the storage kinds.
    pub fn verify_contact(&self, id: UserId, contact: ContactId) -> Result<Contact> {
        self.contact_change(id, "contact verified", |plan| {
            user::stage_contact_verified(plan.store, &mut plan.batch, id, contact, plan.now)
        })
    }

    /// Removes a contact detail and returns it.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn remove_contact(&self, id: UserId, contact: ContactId) -> Result<Contact> {
        self.contact_change(id, "contact removed", |plan| {
            user::stage_remove_contact(plan.store, &mut plan.batch, id, contact, plan.now)
        })
    }

    fn contact_change(
        &self,
        id: UserId,
        what: &str,
        mut stage: impl FnMut(&mut Plan<'_>) -> Result<ContactRecord>,
    ) -> Result<Contact> {
        let (record, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, id, what)?;
            let record = stage(plan)?;
            plan.notify(Event::of(id, EventKind::ContactChanged(record.id)));
            let detail = format!("{what}: {}", record.id);
            plan.record(AuditKind::UserUpdated, Entry::of(Subject::User(id)).detail(detail))?;
            Ok(record)
        })?;
        Ok(record.into())
    }

    /// The user's contact details, in the order they were added.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn contacts(&self, id: UserId, page: &PageRequest) -> Result<Page<Contact>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, id)?;
        let (contacts, next) =
            store::page::<ContactRecord>(store, &page.scan(ContactRecord::TABLE, &id.bytes())?)?;
        Ok(Page::new(
            contacts.into_iter().map(|contact| contact.record.into()).collect(),
            ContactRecord::TABLE,
            next,
        ))
    }

    /// Deletes a user: sessions, roles and login end at the very next check, and the name is free again. The number
    /// is never reused, and the audit log keeps what the user did.
    ///
    /// # Errors
    /// `NotFound`; `LastHolder` where a protected role would have no holder left at some scope; the storage kinds.
    pub fn delete(&self, id: UserId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = user::read_user(plan.store, id)?;
            warrant::may_administer(plan, id, "delete a user")?;
            guard::before_leaving(plan, &old)?;
            plan.batch.remove(&old);
            plan.leave(Leftover::User(id))?;
            plan.record(
                AuditKind::UserDeleted,
                Entry::of(Subject::User(id)).detail(old.record.login.as_str()),
            )
        })?;
        engine.sweep_after(Leftover::User(id));
        Ok(())
    }
}

/// Tells in the log whom a new name could be taken for, in the commit that takes it.
pub(super) fn warn_of_likeness(plan: &mut Plan<'_>, user: &UserRecord, like: Option<UserId>) -> Result<()> {
    let Some(like) = like else { return Ok(()) };
    let entry = Entry::of(Subject::User(user.id)).and(Subject::User(like)).detail(user.login.as_str());
    plan.record(AuditKind::NameConfusable, entry)
}

/// Expects the scopes to stay, and refuses one that does not exist.
pub(super) fn expect_homes(plan: &mut Plan<'_>, homes: &BTreeSet<ScopeId>) -> Result<()> {
    let mut homes = homes.iter().filter(|home| **home != ScopeId::ROOT).peekable();
    if homes.peek().is_some() {
        scope::expect_tree(plan.store, &mut plan.batch)?;
    }
    homes.try_for_each(|home| scope::tenant_of(plan.store, *home).map(drop))
}

impl Portcullis {
    pub(super) fn actor(&self) -> Mandate {
        Mandate { actor: self.actor, delegated: self.delegated, impersonator: self.impersonator }
    }
}
