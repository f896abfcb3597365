//! What an import commits: new users with their first roles, several to a commit, each whole or not at all.

use super::assignments;
use super::passwords::{Prepared, stage_new_password};
use super::users::{Users, expect_homes, warn_of_likeness};
use super::write::{Entry, Plan};
use super::{Engine, Portcullis};
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RoleId, ScopeId, UserId};
use crate::scope;
use crate::store::{self, Batch, Expect, MAX_OPERATIONS, Table};
use crate::user::{self, ConfusableNames, NameRules, NewUser};
use std::collections::BTreeSet;

/// No user gets this number, so that nothing is stored under it that a trial could meet.
const NOBODY: u64 = u32::MAX as u64;

/// A user to be created, with the roles to begin with. No pair is in it twice.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) user: NewUser,
    pub(crate) roles: Vec<(RoleId, ScopeId)>,
    /// Why the breach check of the password failed, where it is taken all the same.
    pub(crate) unchecked: Option<String>,
}

/// What a newcomer takes for itself, and what nobody else may have taken: names, addresses and looks, by digests.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) takes: Vec<Claim>,
    pub(crate) bars: Vec<Claim>,
}

/// A digest, and whether an address of the user is meant and not the login name.
pub(crate) type Claim = ([u8; 16], bool);

impl Claims {
    /// From what the plan of the newcomer writes and expects. What only warns is no claim.
    fn of(batch: &Batch, rules: NameRules) -> Self {
        let taken = |table: Table, key: &[u8]| {
            batch.writes.iter().any(|write| write.table == table && write.key == key)
        };
        let claim = |table: Table, key: &[u8]| {
            // A name bars the address that it is, and an address the name.
            let verified = table == user::USER_BY_VERIFIED_EMAIL;
            let address = match verified {
                true => taken(table, key),
                false => user::is_address(table, key) && !taken(table, key),
            };
            if !verified && rules.confusable != ConfusableNames::Refuse && !user::is_address(table, key) {
                return None;
            }
            let mut digest = [0; 16];
            let mut hasher = blake3::Hasher::new();
            hasher.update(table.name.as_bytes()).update(&[0]).update(key).finalize_xof().fill(&mut digest);
            Some((digest, address))
        };
        let names = [user::USER_BY_LOGIN, user::USER_BY_ALIAS, user::USER_BY_VERIFIED_EMAIL];
        let takes = batch.writes.iter().filter(|write| names.contains(&write.table));
        let bars = batch
            .expects
            .iter()
            .filter(|(table, _, expect)| names.contains(table) && *expect == Expect::Absent);
        Self {
            takes: takes.filter_map(|write| claim(write.table, &write.key)).collect(),
            bars: bars.filter_map(|(table, key, _)| claim(*table, key)).collect(),
        }
    }
}

/// Tries newcomers out and creates them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomers<'g> {
    gate: &'g Portcullis,
}

impl<'g> Newcomers<'g> {
    /// Refuses a delegated handle: an import is the application's.
    pub(crate) fn of(gate: &'g Portcullis) -> Result<Self> {
        gate.refuse_delegated("import users")?;
        Ok(Self { gate })
    }

    /// How many operations one commit takes.
    pub(crate) const FULL: usize = MAX_OPERATIONS;

    pub(crate) fn now(&self) -> Timestamp {
        self.gate.engine().now()
    }

    /// Whether there is a user of that canonical login name.
    pub(crate) fn is_there(&self, canonical: &str) -> Result<bool> {
        let key = store::index_prefix(canonical);
        Ok(self.gate.engine().store.get(user::USER_BY_LOGIN, &key)?.is_some())
    }

    /// What is wrong with the password or the hash, if anything is. To be asked once for each user.
    pub(crate) fn check_secret(&self, user: &NewUser) -> Result<()> {
        Users { gate: self.gate }.check_secret(user)
    }

    /// Refuses a password that was breached, and says why that could not be told where it is taken all the same. To be
    /// asked once for each user. Nothing is written down in a dry run.
    pub(crate) fn ask_about_breaches(&self, user: &NewUser, write: bool) -> Result<Option<String>> {
        let Some(password) = &user.password else { return Ok(None) };
        match write {
            true => self.gate.engine().ask_about_breaches(self.gate.actor(), None, password.expose()),
            false => self.gate.engine().breached(password.expose()),
        }
    }

    /// The scope of a path.
    pub(crate) fn scope(&self, path: &str) -> Result<Option<ScopeId>> {
        self.gate.scopes().find(path)
    }

    /// The role of a name for a scope: the tenant's own one, or else the one that belongs to no tenant.
    pub(crate) fn role(&self, name: &str, at: ScopeId) -> Result<Option<RoleId>> {
        let roles = self.gate.roles();
        let tenant = scope::tenant_of(&*self.gate.engine().store, at)?;
        let found = match roles.find_in(tenant, name)? {
            None if tenant != ScopeId::ROOT => roles.find(name)?,
            found => found,
        };
        Ok(found.map(|role| role.id))
    }

    /// Plans the creation and commits nothing: what would refuse it, or how many operations it takes. The password is not
    /// checked again.
    pub(crate) fn try_out(&self, newcomer: &Newcomer) -> Result<(usize, Claims)> {
        let secret = newcomer.user.password.is_some() || newcomer.user.password_hash.is_some();
        let secret = secret.then(|| Prepared::stored("").unchecked(newcomer.unchecked.clone()));
        let engine = self.gate.engine();
        let (operations, claims) = engine.try_out(|plan| {
            stage(engine, plan, UserId::from_number(NOBODY), newcomer, secret.as_ref())?;
            Ok((plan.batch.operations(), Claims::of(&plan.batch, engine.names)))
        })?;
        if operations > Self::FULL {
            let message = format!(
                "takes {operations} rows with all contacts and roles, and one commit {}; add some of them later",
                Self::FULL
            );
            return Err(Error::limit("user", message));
        }
        Ok((operations, claims))
    }

    /// Creates a group whose operations together fit one commit, all of them or none.
    pub(crate) fn create(&self, group: &[&Newcomer]) -> Result<()> {
        let engine = self.gate.engine();
        let mut fresh = Vec::with_capacity(group.len());
        for newcomer in group {
            let secret = engine.hash_first_secret(&newcomer.user, newcomer.unchecked.clone())?;
            fresh.push((engine.user_ids.next(&*engine.store)?, secret));
        }
        engine.write(self.gate.actor(), |plan| {
            group
                .iter()
                .zip(&fresh)
                .try_for_each(|(newcomer, (id, secret))| stage(engine, plan, *id, newcomer, secret.as_ref()))
        })?;
        Ok(())
    }

    /// Writes down that a newcomer would have broken a separation of duty, as an assignment that does so is.
    pub(crate) fn report(&self, newcomer: &Newcomer, error: Error) -> Error {
        let Some((role, _)) = newcomer.roles.first() else { return error };
        if error.kind() != ErrorKind::SeparationOfDuty {
            return error;
        }
        let told =
            self.gate.engine().report_violation::<()>(self.gate.actor(), Subject::Role(*role), Err(error));
        told.err().unwrap_or_else(|| Error::damaged("a refusal was not returned"))
    }
}

fn stage(
    engine: &Engine,
    plan: &mut Plan<'_>,
    id: UserId,
    newcomer: &Newcomer,
    secret: Option<&Prepared>,
) -> Result<()> {
    let user = &newcomer.user;
    expect_homes(plan, &BTreeSet::from([user.home]))?;
    let (record, like) = user::stage_create(plan.store, &mut plan.batch, id, user, plan.now, engine.names)?;
    warn_of_likeness(plan, &record, like)?;
    if let Some(secret) = secret {
        stage_new_password(plan, &engine.passwords.policy, id, secret)?;
    }
    plan.record(AuditKind::UserCreated, Entry::of(Subject::User(id)).detail(record.login.as_str()))?;
    assignments::stage_first(plan, id, &newcomer.roles)
}
