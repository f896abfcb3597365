//! The tree of scopes.

use super::Portcullis;
use super::bookkeeping::{Leftover, Sequence};
use super::ids::stage_next;
use super::page::{Page, PageRequest};
use super::warrant;
use super::write::Entry;
use crate::audit::{AuditKind, Subject};
use crate::error::{Error, Result};
use crate::id::{Key, ScopeId};
use crate::scope::{self, MAX_DEPTH, SCOPE_BY_NAME, Scope, ScopeRecord};
use crate::store::{self, Scan, Store};

/// Scopes below one that a move looks at before it refuses to go on.
const MOST_MOVED: usize = 1_000_000;

/// Makes, finds, moves and deletes scopes; get it from [`Portcullis::scopes`].
///
/// A scope is a tenant where it lies directly in the global one, and a project, a folder or a single document further
/// down, up to 32 levels. What is assigned at a scope holds there and below.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Portcullis, ScopeId};
/// let gate = Portcullis::in_memory()?;
/// let doc = gate.scopes().ensure("acme/project:42/doc:7")?;
/// assert_eq!(gate.scopes().find("acme/project:42/doc:7")?, Some(doc));
/// assert_eq!(gate.scopes().path(doc)?, "acme/project:42/doc:7");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scopes<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Scopes<'_> {
    /// Makes a scope in another one; in [`ScopeId::ROOT`], a tenant.
    ///
    /// # Errors
    /// `NotFound` for a parent that does not exist; `AlreadyExists` where the name is taken there; `InvalidInput` for
    /// a name that breaks a rule or has a `/`; `LimitExceeded` below the 32nd level; the storage kinds.
    pub fn create(&self, parent: ScopeId, name: &str) -> Result<ScopeId> {
        let (id, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            let limit = u64::from(u32::MAX) - 1;
            let number = stage_next(plan.store, &mut plan.batch, Sequence::Scope, 1, limit)?;
            let number =
                u32::try_from(number + 1).map_err(|_| Error::limit("scope", "scope numbers are used up"))?;
            let id = ScopeId::from_number(number);
            warrant::may_name_scope(plan, parent, "make a scope in it")?;
            scope::stage_create(plan.store, &mut plan.batch, id, parent, name, plan.now)?;
            plan.record(AuditKind::ScopeCreated, Entry::of(Subject::Scope(id)).detail(name))?;
            Ok(id)
        })?;
        Ok(id)
    }

    /// The scope of that path, made with all that it lies in where it is missing, one commit a level.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn ensure(&self, path: &str) -> Result<ScopeId> {
        let mut at = ScopeId::ROOT;
        for name in scope::parse_path(path)? {
            at = match self.child(at, name)? {
                Some(found) => found,
                None => match self.create(at, name) {
                    // Somebody else was faster.
                    Err(error) if error.is_conflict() => self.child(at, name)?.ok_or(error)?,
                    created => created?,
                },
            };
        }
        Ok(at)
    }

    /// The scope of that path, such as `acme/project:42`; the empty path is the global scope.
    ///
    /// # Errors
    /// `InvalidInput` or `LimitExceeded` for what can not be a path; the storage kinds.
    pub fn find(&self, path: &str) -> Result<Option<ScopeId>> {
        let mut at = ScopeId::ROOT;
        for name in scope::parse_path(path)? {
            match self.child(at, name)? {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn child(&self, parent: ScopeId, name: &str) -> Result<Option<ScopeId>> {
        let key = scope::name_key(parent, name);
        let found = store::find::<ScopeRecord>(&*self.gate.engine().store, SCOPE_BY_NAME, &key)?;
        Ok(found.map(|found| found.record.id))
    }

    /// The scope of that number.
    ///
    /// # Errors
    /// `NotFound`, also for the global scope, which has no record; the storage kinds.
    pub fn get(&self, id: ScopeId) -> Result<Scope> {
        let store = &*self.gate.engine().store;
        scope::path_of(store, id)?;
        scope::read_scope(store, id).map(Scope::from)
    }

    /// Its place by names.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn path(&self, id: ScopeId) -> Result<String> {
        scope::path_of(&*self.gate.engine().store, id)
    }

    /// What lies directly in a scope, by name; in [`ScopeId::ROOT`], the tenants.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn children(&self, id: ScopeId, page: &PageRequest) -> Result<Page<Scope>> {
        let store = &*self.gate.engine().store;
        scope::path_of(store, id)?;
        let prefix = id.bytes();
        let (found, next) =
            store::page_by::<ScopeRecord>(store, SCOPE_BY_NAME, &page.scan(SCOPE_BY_NAME, &prefix)?)?;
        Ok(Page::new(found.into_iter().map(Scope::from).collect(), SCOPE_BY_NAME, next))
    }

    /// Gives a scope another name in its place.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn rename(&self, id: ScopeId, name: &str) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_rename_scope(plan, id)?;
            scope::stage_rename(plan.store, &mut plan.batch, id, name)?;
            plan.record(AuditKind::ScopeRenamed, Entry::of(Subject::Scope(id)).detail(name))
        })?;
        Ok(())
    }

    /// Moves a scope, with all that lies in it, into another one of the same tenant: one atomic change, seen whole by
    /// the next check. It reads the tree below the scope, to see how deep it is.
    ///
    /// # Errors
    /// `NotFound`; `Cycle` for a move into itself; `InvalidInput` for a tenant, and for another tenant's scope;
    /// `AlreadyExists` where the name is taken there; `LimitExceeded` where it would lie too deep, or more than a
    /// million scopes lie in it; the storage kinds.
    pub fn move_to(&self, id: ScopeId, parent: ScopeId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            warrant::may_move_scope(plan, id, parent)?;
            let depth = height(plan.store, id)?;
            scope::stage_move(plan.store, &mut plan.batch, id, parent, depth)?;
            plan.record(AuditKind::ScopeMoved, Entry::of(Subject::Scope(id)).and(Subject::Scope(parent)))
        })?;
        Ok(())
    }

    /// Deletes a scope with all that lies in it and all that is assigned there: one atomic change, however much that
    /// is. The roles of a deleted tenant are deleted too. Numbers are never reused. Protected roles do not stop it: where
    /// there is no scope, nobody is locked out of it.
    ///
    /// # Errors
    /// `NotFound`, also for the global scope; `Denied` for a delegated actor where more than 1,000 scopes lie in it, or
    /// something is held there beyond the delegation; the storage kinds.
    pub fn delete(&self, id: ScopeId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            warrant::may_delete_scope(plan, id)?;
            let old = scope::stage_delete(plan.store, &mut plan.batch, id)?;
            plan.leave(Leftover::Scope(id))?;
            plan.record(AuditKind::ScopeDeleted, Entry::of(Subject::Scope(id)).detail(old.name))
        })?;
        engine.sweep_after(Leftover::Scope(id));
        Ok(())
    }
}

/// How many levels lie below a scope. A scope made below it meanwhile expects the tree as it is, so that the move and
/// the making do not both succeed.
fn height(store: &dyn Store, id: ScopeId) -> Result<usize> {
    let (mut level, mut depth, mut seen) = (vec![id], 0, 0);
    loop {
        let mut below = Vec::new();
        for scope in level {
            let prefix = scope.bytes();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 1024, descending: false };
                let rows = store.scan(SCOPE_BY_NAME, &scan)?;
                for row in &rows {
                    below.push(ScopeId::read(&row.value)?);
                }
                match rows.last() {
                    Some(last) if rows.len() == 1024 => after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        seen += below.len();
        if seen > MOST_MOVED || depth > MAX_DEPTH {
            return Err(Error::limit("scope", format!("more than {MOST_MOVED} scopes lie in {id}")));
        }
        if below.is_empty() {
            return Ok(depth);
        }
        (level, depth) = (below, depth + 1);
    }
}
