//! API keys: make them, list them, limit them, end them.

mod accept;
mod expired;
mod rotate;

pub(super) use expired::key_of;

use super::events::{Event, EventKind};
use super::page::{Page, PageRequest};
use super::view::ViewTime;
use super::write::{Entry, Plan};
use super::{Engine, Portcullis, assignments, roles, warrant};
use crate::apikey::{
    self, API_KEY_BY_END, API_KEY_BY_OWNER, ApiKey, ApiKeyChange, ApiKeyRecord, Limits, NewApiKey,
};
use crate::audit::{AuditKind, Subject};
use crate::crypto::ApiKeyToken;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ApiKeyId, Key, UserId};
use crate::permission::Permission;
use crate::scope;
use crate::store::{self, Scan, Stored, Table};
use crate::user::{self, UserRecord};

/// Keys that one user can have, those that were replaced and live on for a while not counted.
const MOST_KEYS: usize = 100;
/// Those counted, too: so that who replaces keys over and over does not get any number of them.
const MOST_WITH_REPLACED: usize = 2 * MOST_KEYS;
/// Keys that one commit revokes; each takes five operations.
const PORTION: usize = 24;
/// Different limits that are kept in reserve. One who makes a key is refused while there are fewer left, so that no commit
/// finds that there is none.
const SPARE_LIMITS: usize = 4096;

/// Makes, lists, limits and ends API keys; get it from [`Portcullis::api_keys`].
///
/// A key belongs to a user, a person or a [service account](crate::NewUser::service_account), and is accepted by
/// [`Portcullis::authenticate_key`]. What it allows is worked out anew at each question: what its owner holds at that
/// moment, and of that what the key names. So it can never do more than its owner, and what the owner loses the key loses
/// with it. It is dead while the owner may not log in, from the moment in which that is set, and for good once the owner is
/// deleted. It outlives the owner's sessions: neither a new password nor the end of all sessions ends it, as programs would
/// stand still for that; [`revoke_all`](Self::revoke_all) does.
///
/// A key asks for no second factor and has no level of assurance: give it few permissions.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{NewApiKey, NewUser, Portcullis};
/// use std::time::Duration;
/// let gate = Portcullis::in_memory()?;
/// let deploy = gate.permissions().define("deploy")?;
/// let acme = gate.scopes().ensure("acme")?;
/// let deployer = gate.roles().create("deployer", [deploy])?;
/// let robot = gate.users().create(NewUser::new("robot").service_account())?.id;
/// gate.roles().assign(robot, deployer)?;
///
/// let made = gate.api_keys().create(robot, NewApiKey::new("ci").only([deploy]).at([acme]))?;
/// let token = made.token.as_str(); // show it now: only its digest is kept
/// assert!(gate.authenticate_key(token)?.can_at(deploy, acme));
/// assert!(!gate.authenticate_key(token)?.can(deploy)); // not everywhere
///
/// let next = gate.api_keys().rotate(made.key.id, Duration::from_secs(3600))?;
/// assert!(gate.authenticate_key(token).is_ok() && gate.authenticate_key(&next.token).is_ok());
/// gate.api_keys().revoke(made.key.id)?;
/// assert!(gate.authenticate_key(token).is_err() && gate.authenticate_key(&next.token).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys<'g> {
    gate: &'g Portcullis,
}

/// A key that was just made, with its token.
#[derive(Debug)]
#[non_exhaustive]
pub struct IssuedApiKey {
    /// The key.
    pub key: ApiKey,
    /// What the program presents. It is shown this once.
    pub token: ApiKeyToken,
}

impl Portcullis {
    /// API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys { gate: self }
    }
}

impl ApiKeys<'_> {
    /// Makes a key. What it names may be more than its owner holds: that gives nothing until the owner holds it.
    ///
    /// # Errors
    /// `NotFound` for an owner, permission or scope that does not exist; `InvalidInput` for a name, a life or scopes that
    /// break a rule; `LimitExceeded` for too many permissions or scopes, and where the owner has a hundred keys; the storage
    /// kinds.
    pub fn create(&self, owner: UserId, new: NewApiKey) -> Result<IssuedApiKey> {
        new.check()?;
        let engine = self.gate.engine();
        let ((token, record), _) = engine.write(self.gate.actor(), move |plan| {
            expect_owner(plan, owner)?;
            warrant::may_administer(plan, owner, "make an API key")?;
            engine.check_limits(plan, &new.limits, &Limits::default())?;
            let (token, id, digest) = ApiKeyToken::mint(&*engine.entropy)?;
            let secs = |span: std::time::Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
            let record = ApiKeyRecord {
                id,
                owner,
                digest: digest.0,
                name: new.name.clone(),
                created: plan.now,
                created_by: assignments::giver(plan.actor),
                expires: new.life.map(|life| plan.now.saturating_add(life)),
                life_secs: new.life.map(secs),
                idle_secs: new.idle.map_or(0, secs),
                used: None,
                permissions: None,
                scopes: None,
                rate: None,
                replaced_by: None,
            }
            .with_limits(new.limits.clone());
            apikey::stage_key(plan.store, &mut plan.batch, &record, MOST_KEYS, false, plan.now)?;
            plan.record(AuditKind::ApiKeyCreated, entry_of(&record, described(&record)))?;
            plan.notify(Event::of(owner, EventKind::ApiKeyCreated(id)));
            Ok((token, record))
        })?;
        Ok(IssuedApiKey { key: record.into(), token })
    }

    /// The key of that number, if it has not ended.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, id: ApiKeyId) -> Result<ApiKey> {
        let engine = self.gate.engine();
        let found = engine.shown(apikey::read_key(&*engine.store, id)?);
        found.ok_or_else(|| Error::not_found("key", id))
    }

    /// The keys of a user that have not ended, by number; those of one who may not log in now are among them.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_owner(&self, owner: UserId, page: &PageRequest) -> Result<Page<ApiKey>> {
        user::read_user(&*self.gate.engine().store, owner)?;
        self.page_by(API_KEY_BY_OWNER, &owner.bytes(), page)
    }

    /// All keys that end, the next one first: to ask their owners in time for new ones. A key with an idle limit ends
    /// where that is the nearer end, as far as its use was written back.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn by_end(&self, page: &PageRequest) -> Result<Page<ApiKey>> {
        self.page_by(API_KEY_BY_END, &[], page)
    }

    fn page_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<ApiKey>> {
        let engine = self.gate.engine();
        let scan = page.scan(index, prefix)?;
        let (found, next) = store::page_by::<ApiKeyRecord>(&*engine.store, index, &scan)?;
        Ok(Page::new(found, index, next).filter_map(|found| engine.shown(found)))
    }

    /// Changes the name or the limits of a key, also to wider ones; the next question is answered by the new ones.
    ///
    /// # Errors
    /// As [`create`](Self::create), and `NotFound` for a key that has ended.
    pub fn update(&self, id: ApiKeyId, change: ApiKeyChange) -> Result<ApiKey> {
        let engine = self.gate.engine();
        let (record, _) = engine.write(self.gate.actor(), move |plan| {
            let old = engine.read_live_key(plan, id)?;
            warrant::may_administer(plan, old.record.owner, "change an API key")?;
            let former = old.record.limits();
            let (name, limits) = change.apply(&old.record.name, former.clone())?;
            engine.check_limits(plan, &limits, &former)?;
            let new = ApiKeyRecord { name, ..old.record.clone() }.with_limits(limits);
            apikey::stage_change(&mut plan.batch, &old, &new)?;
            plan.record(AuditKind::ApiKeyUpdated, entry_of(&new, described(&new)))?;
            plan.notify(Event::of(new.owner, EventKind::ApiKeyChanged(id)));
            Ok(new)
        })?;
        Ok(ApiKey::from(record))
    }

    /// Ends a key: it is refused by the very next check in every thread.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn revoke(&self, id: ApiKeyId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            let old = apikey::read_key(plan.store, id)?;
            warrant::may_administer(plan, old.record.owner, "revoke an API key")?;
            stage_revoked(plan, &old, described(&old.record))
        })?;
        Ok(())
    }

    /// Ends the key whose text somebody has found, and says which it was: for whoever looks for secrets in repositories and
    /// logs, and for a page at which a finder hands one in. Whoever has the text could use the key, so that nothing more is
    /// asked for; the text is not kept.
    ///
    /// # Errors
    /// `NotFound` for what is no key of this database, or not any more; the storage kinds.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{NewApiKey, NewUser, Portcullis, TokenPurpose};
    /// let gate = Portcullis::in_memory()?;
    /// let ada = gate.users().create(NewUser::new("ada"))?.id;
    /// let made = gate.api_keys().create(ada, NewApiKey::new("laptop"))?;
    /// let found = made.token.as_str();
    /// assert_eq!(TokenPurpose::recognise(found), Some(TokenPurpose::ApiKey));
    /// assert_eq!(gate.api_keys().revoke_presented(found)?.owner, ada);
    /// assert!(gate.authenticate_key(found).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke_presented(&self, text: &str) -> Result<ApiKey> {
        let unknown = || Error::not_found("key", "an API key of that text");
        let (id, digest) = ApiKeyToken::parse(text).ok_or_else(unknown)?;
        let (record, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            let found = store::read::<ApiKeyRecord>(plan.store, &id)?;
            // In a time that does not depend on where the digests differ.
            let old = found.filter(|found| crate::crypto::Digest(found.record.digest) == digest);
            let old = old.ok_or_else(unknown)?;
            warrant::may_administer(plan, old.record.owner, "revoke an API key")?;
            stage_revoked(plan, &old, format!("{}; it was found", described(&old.record)))?;
            Ok(old.record)
        })?;
        Ok(record.into())
    }

    /// Ends every key of a user; how many there were. It takes a commit for every 24 of them, and after an error those of
    /// the commits before it stay ended.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn revoke_all(&self, owner: UserId) -> Result<usize> {
        let mut revoked = 0;
        loop {
            let (count, _) = self.gate.engine().write(self.gate.actor(), |plan| {
                expect_owner(plan, owner)?;
                warrant::may_administer(plan, owner, "revoke API keys")?;
                let (prefix, limit) = (owner.bytes(), PORTION);
                let scan = Scan { prefix: &prefix, limit, ..Scan::default() };
                let (keys, _) = store::page_by::<ApiKeyRecord>(plan.store, API_KEY_BY_OWNER, &scan)?;
                if keys.is_empty() {
                    plan.batch = store::Batch::new();
                    return Ok(0);
                }
                for key in &keys {
                    plan.batch.remove(key);
                    plan.notify(Event::of(owner, EventKind::ApiKeyRevoked(key.record.id)));
                }
                let entry = Entry::of(Subject::User(owner)).detail(format!("all: {} of them", keys.len()));
                plan.record(AuditKind::ApiKeyRevoked, entry)?;
                Ok(keys.len())
            })?;
            revoked += count;
            if count < PORTION {
                return Ok(revoked);
            }
        }
    }
}

fn stage_revoked(plan: &mut Plan<'_>, old: &Stored<ApiKeyRecord>, detail: String) -> Result<()> {
    plan.batch.remove(old);
    plan.notify(Event::of(old.record.owner, EventKind::ApiKeyRevoked(old.record.id)));
    plan.record(AuditKind::ApiKeyRevoked, entry_of(&old.record, detail))
}

fn entry_of(key: &ApiKeyRecord, detail: String) -> Entry {
    Entry::of(Subject::User(key.owner)).and(Subject::ApiKey(key.id)).detail(detail)
}

/// What the audit log is to say of a key: its name, and what it is limited to.
fn described(key: &ApiKeyRecord) -> String {
    let mut parts = vec![key.name.clone()];
    if let Some(permissions) = &key.permissions {
        parts.push(format!("for {} permissions", permissions.len()));
    }
    if let Some(scopes) = &key.scopes {
        let named: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        parts.push(format!("at {}", named.join(", ")));
    }
    if let Some(rate) = &key.rate {
        parts.push(format!("{} times in {:?}", rate.requests(), rate.span()));
    }
    match key.expires {
        Some(end) => parts.push(format!("until {end}")),
        None => parts.push("without an end".to_owned()),
    }
    shortened(parts.join("; "))
}

/// The audit log takes 512 bytes, and a name of 128 with 32 scopes could come to more.
fn shortened(text: String) -> String {
    const MOST: usize = 400;
    if text.len() <= MOST {
        return text;
    }
    let mut short: String = text
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= MOST).then_some(c)
        })
        .collect();
    short.push('…');
    short
}

/// That there is the owner, whose rows may be left where it was deleted a moment ago.
fn expect_owner(plan: &mut Plan<'_>, owner: UserId) -> Result<()> {
    user::read_user(plan.store, owner)?;
    plan.batch.expect_present::<UserRecord>(&owner);
    Ok(())
}

impl Engine {
    /// Refuses limits that name what is not there, unless they did before, and a key that the view could not hold.
    fn check_limits(&self, plan: &mut Plan<'_>, limits: &Limits, former: &Limits) -> Result<()> {
        if let Some(permissions) =
            limits.permissions.as_ref().filter(|_| limits.permissions != former.permissions)
        {
            // Read, and not expected: a permission that is deleted meanwhile is given to nobody ever after.
            let named: Vec<Permission> = permissions.iter().collect();
            roles::check_defined(plan, &named)?;
        }
        for scope in limits.scopes.iter().flatten().filter(|_| limits.scopes != former.scopes) {
            scope::levels(plan.store, *scope)?;
        }
        if !ViewTime::can_tell(plan.now) {
            let message = format!("says {}; keys can be made from 2024 to 2091, so set it right", plan.now);
            return Err(Error::new(ErrorKind::Storage, message).with_field("clock"));
        }
        if (limits.permissions.is_some() || limits.scopes.is_some())
            && self.view.selections_left() < SPARE_LIMITS
        {
            let message = "the keys and sessions have as many different limits as there can be; use those of another key";
            return Err(Error::limit("key", message));
        }
        Ok(())
    }

    /// The key as it is now, with the last use that the view knows of; `None` where it has ended.
    fn shown(&self, stored: Stored<ApiKeyRecord>) -> Option<ApiKey> {
        let record = stored.record;
        self.view.user(record.owner)?;
        let seen = self.view.key_seen(record.id, self.seconds())?;
        let mut key = ApiKey::from(record);
        if seen >= ViewTime::from(key.created) {
            let seen = seen.timestamp().max(key.created);
            key.last_used = Some(key.last_used.map_or(seen, |used| used.max(seen)));
        }
        Some(key)
    }

    /// The stored key, if it has not ended: by its row, which the caller's commit expects, and by its last use, which is in
    /// memory first.
    fn read_live_key(&self, plan: &Plan<'_>, id: ApiKeyId) -> Result<Stored<ApiKeyRecord>> {
        let stored = apikey::read_key(plan.store, id)?;
        let now = ViewTime::from(plan.now);
        let over = stored.record.expires.is_some_and(|end| ViewTime::from(end) <= now);
        if over || self.view.key_seen(id, now).is_none() {
            return Err(Error::not_found("key", id));
        }
        user::read_user(plan.store, stored.record.owner)?;
        Ok(stored)
    }
}
