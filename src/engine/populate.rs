//! Large databases in a short time, for benches: the same records and the same commits, without audit records. And single
//! rows, as no engine writes them.

use super::Portcullis;
use crate::apikey::ApiKeyRecord;
use crate::assignment::{self, AssignmentRecord};
use crate::assurance::{Method, Methods};
use crate::clock::Timestamp;
use crate::crypto::{ApiKeyToken, Source, Token};
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::id::{RoleId, ScopeId, UserId};
use crate::permission::PermissionSet;
use crate::session::{self, SessionRecord};
use crate::store::{Batch, CommitError, MAX_OPERATIONS};
use crate::user::{self, NewUser};

/// Leaves room for the operations of one more record.
const FULL: usize = MAX_OPERATIONS - 16;

struct Filler<'g> {
    gate: &'g Portcullis,
    batch: Batch,
}

impl Filler<'_> {
    fn commit(&mut self) -> Result<()> {
        match self.gate.engine().store.commit(std::mem::take(&mut self.batch)) {
            Ok(_) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
            Err(CommitError::Conflict) => {
                Err(Error::exists("login", "somebody else writes to the same database"))
            }
        }
    }

    fn commit_if_full(&mut self) -> Result<()> {
        if self.batch.operations() >= FULL { self.commit() } else { Ok(()) }
    }
}

pub(crate) fn users(gate: &Portcullis, prefix: &str, count: usize, roles: &[RoleId]) -> Result<Vec<UserId>> {
    let engine = gate.engine();
    let mut filler = Filler { gate, batch: Batch::new() };
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        let (id, now) = (engine.user_ids.next(&*engine.store)?, engine.now());
        user::stage_create(
            &*engine.store,
            &mut filler.batch,
            id,
            &NewUser::new(format!("{prefix}{number}")),
            now,
            engine.names,
        )?;
        if let Some(role) = roles.get(number % roles.len().max(1)) {
            let terms = Grant::new();
            let new = AssignmentRecord { user: id, role: *role, terms, since: now, by: None };
            assignment::stage_assign(&*engine.store, &mut filler.batch, &new)?;
        }
        ids.push(id);
        filler.commit_if_full()?;
    }
    filler.commit()?;
    Ok(ids)
}

pub(crate) fn assignments(gate: &Portcullis, held: &[(UserId, RoleId, ScopeId)]) -> Result<()> {
    let engine = gate.engine();
    let mut filler = Filler { gate, batch: Batch::new() };
    for (user, role, scope) in held {
        let terms = Grant::new().at(*scope);
        let new = AssignmentRecord { user: *user, role: *role, terms, since: engine.now(), by: None };
        filler.batch.insert(&new)?;
        filler.commit_if_full()?;
    }
    filler.commit()
}

pub(crate) fn sessions(gate: &Portcullis, users: &[UserId]) -> Result<Vec<Token>> {
    let engine = gate.engine();
    let mut filler = Filler { gate, batch: Batch::new() };
    let mut tokens = Vec::with_capacity(users.len());
    for user in users {
        let generation = user::read_user(&*engine.store, *user)?.record.generation;
        let (token, id, digest) = Token::mint(&*engine.entropy)?;
        let now: Timestamp = engine.now();
        filler.batch.insert(&SessionRecord {
            id,
            user: *user,
            digest: digest.0,
            generation,
            created: now,
            seen: now,
            idle_secs: engine.limits.idle_secs,
            expires: now.saturating_add(engine.limits.absolute),
            device: String::new(),
            ip: None,
            user_agent: String::new(),
            roles: None,
            methods: Methods::of(Method::Password),
            authenticated: now,
            elevated: None,
            device_id: None,
            era: session::era(&*engine.store)?,
            label: String::new(),
            impersonator: None,
            family: None,
        })?;
        tokens.push(token);
        filler.commit_if_full()?;
    }
    filler.commit()?;
    Ok(tokens)
}

pub(crate) fn api_keys(
    gate: &Portcullis,
    users: &[UserId],
    permissions: Option<&PermissionSet>,
) -> Result<Vec<ApiKeyToken>> {
    let engine = gate.engine();
    let mut filler = Filler { gate, batch: Batch::new() };
    let mut tokens = Vec::with_capacity(users.len());
    for owner in users {
        let (token, id, digest) = ApiKeyToken::mint(&*engine.entropy)?;
        filler.batch.insert(&ApiKeyRecord {
            id,
            owner: *owner,
            digest: digest.0,
            name: "populated".to_owned(),
            created: engine.now(),
            created_by: None,
            expires: None,
            life_secs: None,
            idle_secs: 0,
            used: None,
            permissions: permissions.map(|set| set.iter().collect()),
            scopes: None,
            rate: None,
            replaced_by: None,
        })?;
        tokens.push(token);
        filler.commit_if_full()?;
    }
    filler.commit()?;
    Ok(tokens)
}

/// One hash for nobody, through the gate.
pub(crate) fn hash_for_nobody(gate: &Portcullis, password: &str) -> Result<()> {
    gate.engine().hasher.verify(password, None, Source::Unknown).map(drop)
}

/// Rows of tables by name, with their keys and values, in one commit.
pub(crate) fn put_rows<'r>(
    gate: &Portcullis,
    rows: impl IntoIterator<Item = (&'r str, &'r [u8], &'r [u8])>,
) -> Result<()> {
    let mut filler = Filler { gate, batch: Batch::new() };
    for (table, key, value) in rows {
        let found = super::TABLES.iter().copied().flatten().find(|known| known.name == table);
        let table = found.ok_or_else(|| Error::not_found("table", format_args!("\"{table}\"")))?;
        filler.batch.put(*table, key.to_vec(), value.to_vec());
    }
    filler.commit()
}
