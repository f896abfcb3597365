//! Why a decision is as it is, with the audit record of each link.

use super::Review;
use crate::access::AccessRecord;
use crate::assignment::AssignmentRecord;
use crate::audit::{AUDIT_BY_SUBJECT, AuditKind, AuditRecord, Subject};
use crate::catalog::PermissionRecord;
use crate::engine::Engine;
use crate::engine::principal::Decision;
use crate::engine::sessions::read_live_session;
use crate::error::{Denial, ErrorKind, Result};
use crate::grant::{Effect, Grant};
use crate::id::{Key, RoleId, ScopeId, SessionId, UserId};
use crate::permission::Permission;
use crate::role::{self, CHUNK_BITS, Chunk, RoleRecord};
use crate::scope;
use crate::store::{self, Scan, Store};
use crate::user::{StatusKind, UserRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Audit records of one thing that are looked through for the one that made a link.
const MOST_RECORDS: usize = 4096;
/// Roles that an explanation of a denial names.
const MOST_ROLES: usize = 100;

/// What a link comes to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It counts.
    Holds,
    /// It begins later.
    NotBegun,
    /// It is over.
    Ended,
    /// It was made at a scope that the one in question does not lie in.
    Elsewhere,
    /// It would count if the session had the role active.
    NotActive,
}

/// One way from the user to the permission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Whether it gives the permission or denies it.
    pub effect: Effect,
    /// Whether it counts now, here.
    pub standing: Standing,
    /// Where it was made.
    pub scope: ScopeId,
    /// The assigned role, then what it inherits from, down to the role that grants or denies; empty for a grant or
    /// denial without a role.
    pub roles: Vec<RoleId>,
    /// Its terms.
    pub terms: Grant,
    /// The audit records that made it: of the assignment or direct grant, of each inheritance, of the role's grant or
    /// denial; `None` where it is not among the latest 4,096 records of its subject.
    pub records: Vec<Option<AuditRecord>>,
}

/// Why nothing can be given at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// There is no such user.
    NoUser,
    /// The user may not log in, and so may do nothing.
    NotActive(StatusKind),
    /// There is no such scope.
    NoScope,
    /// There is no such permission.
    NoPermission,
    /// This user acts in the session as its user, and may not do it.
    NotTheImpersonator(UserId),
}

/// Why a user may do something at a scope, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Who.
    pub user: UserId,
    /// What.
    pub permission: Permission,
    /// Where.
    pub scope: ScopeId,
    /// In which session; `None` where all that the user has counts.
    pub session: Option<SessionId>,
    /// What a check answers, before [context rules](crate::ContextRule) are asked.
    pub decision: Decision,
    /// What stands in the way whatever is granted.
    pub findings: Vec<Finding>,
    /// Every way that there is: what decides comes first, then what counts too, then what does not count now or here.
    pub links: Vec<Link>,
    /// For a denial that nothing but a grant is missing for: roles that would give it, by number; the first hundred. Empty
    /// where a finding or a link that denies must go first.
    pub would_give: Vec<RoleId>,
    names: Names,
}

/// What people call those that an explanation is about, for its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    user: Option<String>,
    permission: Option<String>,
    roles: BTreeMap<RoleId, String>,
    scopes: BTreeMap<ScopeId, String>,
}

impl Names {
    fn read(store: &dyn Store, user: UserId, permission: Permission) -> Result<Self> {
        Ok(Self {
            user: store::read::<UserRecord>(store, &user)?.map(|found| found.record.login),
            permission: store::read::<PermissionRecord>(store, &permission)?.map(|found| found.record.name),
            ..Self::default()
        })
    }

    fn add_role(&mut self, store: &dyn Store, role: RoleId) -> Result<()> {
        if let Some(found) = store::read::<RoleRecord>(store, &role)? {
            self.roles.insert(role, found.record.name);
        }
        Ok(())
    }

    fn add_scope(&mut self, store: &dyn Store, scope: ScopeId) -> Result<()> {
        match scope::path_of(store, scope) {
            Ok(path) if !path.is_empty() => {
                self.scopes.insert(scope, path);
                Ok(())
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn role(&self, role: RoleId) -> String {
        named(role, self.roles.get(&role))
    }

    fn scope(&self, scope: ScopeId) -> String {
        match scope {
            ScopeId::ROOT => "the global scope".to_owned(),
            scope => named(scope, self.scopes.get(&scope)),
        }
    }
}

fn named(what: impl fmt::Display, name: Option<&String>) -> String {
    name.map_or_else(|| what.to_string(), |name| format!("{what} ({name})"))
}

impl Explanation {
    /// The links that decided: the denials if one counts, else the grants that count.
    pub fn deciding(&self) -> impl Iterator<Item = &Link> {
        let holds = |link: &&Link| link.standing == Standing::Holds;
        let denied = self.links.iter().filter(holds).any(|link| link.effect == Effect::Deny);
        let effect = if denied { Effect::Deny } else { Effect::Allow };
        self.links.iter().filter(holds).filter(move |link| link.effect == effect)
    }
}

impl Review<'_> {
    /// Why a user may do this at a scope now, or not: every assignment, role chain and direct grant that speaks for it
    /// or against it, with the audit records that made them; for a denial also what is missing.
    ///
    /// It reads all that the user holds.
    ///
    /// # Errors
    /// The storage kinds; what does not exist is a finding and no error.
    pub fn explain(&self, user: UserId, permission: Permission, scope: ScopeId) -> Result<Explanation> {
        self.gate.engine().explain(user, permission, scope, None)
    }

    /// As [`explain`](Self::explain), for a session: of one that selected its roles, what is not active gives nothing.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live; the storage kinds.
    pub fn explain_session(
        &self,
        session: SessionId,
        permission: Permission,
        scope: ScopeId,
    ) -> Result<Explanation> {
        let engine = self.gate.engine();
        let found = read_live_session(engine, session)?.record;
        let mut explanation = engine.explain(found.user, permission, scope, found.roles.as_deref())?;
        explanation.session = Some(session);
        if let Some(user) = engine.stands_in_the_way(&found, permission, scope) {
            explanation.decision = Decision::Deny(Denial::Permission);
            explanation.findings.push(Finding::NotTheImpersonator(user));
            explanation.would_give.clear();
        }
        Ok(explanation)
    }
}

impl Engine {
    /// With only the selected roles active, where some were.
    fn explain(
        &self,
        user: UserId,
        permission: Permission,
        scope: ScopeId,
        selected: Option<&[RoleId]>,
    ) -> Result<Explanation> {
        let (store, now) = (&*self.store, self.now());
        let mut findings = Vec::new();
        match store::read::<UserRecord>(store, &user)? {
            None => findings.push(Finding::NoUser),
            Some(found) if !found.record.status.is_active_at(now) => {
                findings.push(Finding::NotActive(found.record.status.kind));
            }
            Some(_) => {}
        }
        let levels = match scope::levels(store, scope) {
            Ok(levels) => levels,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                findings.push(Finding::NoScope);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if store::read::<PermissionRecord>(store, &permission)?.is_none() {
            findings.push(Finding::NoPermission);
        }
        let mut links = Vec::new();
        let prefix = user.bytes();
        let standing = |terms: &Grant| match () {
            () if !levels.contains(&terms.scope) => Standing::Elsewhere,
            () if terms.has_ended(now) => Standing::Ended,
            () if terms.holds_at(now) => Standing::Holds,
            () => Standing::NotBegun,
        };
        let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
        for row in store::page::<AssignmentRecord>(store, &all)?.0 {
            let AssignmentRecord { role, terms, .. } = row.record;
            for (own, roles) in self.ways_down(role, permission)? {
                // An assignment that denies turns what is granted into denials; a role's denial is one in any case.
                let effect = if terms.effect == Effect::Deny { Effect::Deny } else { own };
                let mut records = vec![self.made_by(Subject::User(user), |record| {
                    record.object == Some(Subject::Role(role))
                        && matches!(
                            record.kind,
                            AuditKind::RoleAssigned
                                | AuditKind::PrivilegedRoleAssigned
                                | AuditKind::BreakGlass
                                | AuditKind::PrivilegedBreakGlass
                        )
                        && tells(&record.detail, &terms.describe())
                })?];
                for pair in roles.windows(2) {
                    let [senior, junior] = pair else { continue };
                    records.push(self.made_by(Subject::Role(*senior), |record| {
                        is_of_kind(record, AuditKind::RoleInherited)
                            && record.object == Some(Subject::Role(*junior))
                    })?);
                }
                if let Some(last) = roles.last() {
                    records.push(self.made_by(Subject::Role(*last), |record| {
                        let kinds = match own {
                            Effect::Allow => [AuditKind::RoleGranted, AuditKind::RoleCreated],
                            Effect::Deny => [AuditKind::RoleDenied; 2],
                        };
                        kinds.iter().any(|kind| is_of_kind(record, *kind))
                            && lists(&record.detail, permission)
                    })?);
                }
                let (scope, mut standing) = (terms.scope, standing(&terms));
                if standing == Standing::Holds
                    && effect == Effect::Allow
                    && !self.is_active(selected, role, roles.last().copied().unwrap_or(role))?
                {
                    standing = Standing::NotActive;
                }
                links.push(Link { effect, standing, scope, roles, terms: terms.clone(), records });
            }
        }
        let prefix = (user, permission).bytes();
        let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
        for row in store::page::<AccessRecord>(store, &all)?.0 {
            let terms = row.record.terms;
            let record = self.made_by(Subject::User(user), |record| {
                record.object == Some(Subject::Permission(permission))
                    && matches!(record.kind, AuditKind::AccessGranted | AuditKind::BreakGlass)
                    && tells(&record.detail, &terms.describe())
            })?;
            let (effect, scope, mut standing) = (terms.effect, terms.scope, standing(&terms));
            if selected.is_some() && standing == Standing::Holds && effect == Effect::Allow {
                standing = Standing::NotActive;
            }
            links.push(Link { effect, standing, scope, roles: Vec::new(), terms, records: vec![record] });
        }
        links.sort_by_key(|link| (link.standing != Standing::Holds, link.effect == Effect::Allow));
        let holds = |effect| move |link: &Link| link.standing == Standing::Holds && link.effect == effect;
        let allowed = findings.is_empty()
            && links.iter().any(holds(Effect::Allow))
            && !links.iter().any(holds(Effect::Deny));
        let decision = if allowed { Decision::Allow } else { Decision::Deny(Denial::Permission) };
        // A role more changes nothing where something stands in the way.
        let curable = findings.is_empty() && !links.iter().any(holds(Effect::Deny));
        let would_give = match !allowed && curable {
            true => self.would_give(permission, levels.iter().rev().nth(1))?,
            false => Vec::new(),
        };
        let (session, mut names) = (None, Names::read(store, user, permission)?);
        let roles = links.iter().flat_map(|link| &link.roles).chain(&would_give);
        roles
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .try_for_each(|role| names.add_role(store, role))?;
        let scopes = links.iter().map(|link| link.scope).chain([scope]);
        scopes.collect::<BTreeSet<_>>().into_iter().try_for_each(|scope| names.add_scope(store, scope))?;
        Ok(Explanation { user, permission, scope, session, decision, findings, links, would_give, names })
    }

    /// Whether one of the selected roles lies on a way from the assigned role down to the one that grants.
    pub(in crate::engine) fn is_active(
        &self,
        selected: Option<&[RoleId]>,
        assigned: RoleId,
        grants: RoleId,
    ) -> Result<bool> {
        let Some(selected) = selected else { return Ok(true) };
        let below = role::with_juniors(&*self.store, [assigned])?;
        for role in selected.iter().filter(|role| below.contains(role)) {
            if role::with_juniors(&*self.store, [*role])?.contains(&grants) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Roles that give it and can be assigned in that tenant.
    fn would_give(&self, permission: Permission, tenant: Option<&ScopeId>) -> Result<Vec<RoleId>> {
        let mut found = Vec::new();
        for role in self.view.roles_giving(permission) {
            let Some(record) = store::read::<RoleRecord>(&*self.store, &role)? else { continue };
            if record.record.scope == ScopeId::ROOT || Some(&record.record.scope) == tenant {
                found.push(role);
            }
            if found.len() == MOST_ROLES {
                break;
            }
        }
        Ok(found)
    }

    /// The shortest chains from a role to each role below it that grants the permission itself, or denies it.
    fn ways_down(&self, top: RoleId, permission: Permission) -> Result<Vec<(Effect, Vec<RoleId>)>> {
        let found = self.chains_down(top, |role| {
            let own = [
                (Effect::Allow, self.has_bit::<false>(role, permission)?),
                (Effect::Deny, self.has_bit::<true>(role, permission)?),
            ];
            Ok(own.iter().any(|(_, has)| *has).then_some(own))
        })?;
        let each = |(own, chain): ([(Effect, bool); 2], Vec<RoleId>)| {
            own.into_iter().filter(|(_, has)| *has).map(move |(effect, _)| (effect, chain.clone()))
        };
        Ok(found.into_iter().flat_map(each).collect())
    }

    fn has_bit<const DENY: bool>(&self, role: RoleId, permission: Permission) -> Result<bool> {
        let chunk = store::read::<Chunk<DENY>>(&*self.store, &(role, permission.bit() / CHUNK_BITS))?;
        let within = Permission::from_bit(permission.bit() % CHUNK_BITS);
        Ok(chunk.is_some_and(|chunk| {
            chunk.record.words.get(within.word()).is_some_and(|word| word & within.mask() != 0)
        }))
    }

    /// The latest record of that subject that fits.
    pub(in crate::engine) fn made_by(
        &self,
        subject: Subject,
        fits: impl Fn(&AuditRecord) -> bool,
    ) -> Result<Option<AuditRecord>> {
        let prefix = subject.bytes();
        let (mut after, mut seen) = (None::<Vec<u8>>, 0);
        while seen < MOST_RECORDS {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 64, descending: true };
            let (records, more) = self.records_by(AUDIT_BY_SUBJECT, &scan)?;
            seen += records.len();
            if let Some(found) = records.into_iter().find(|record| fits(record)) {
                return Ok(Some(found));
            }
            match more {
                Some(more) => after = Some(more),
                None => break,
            }
        }
        Ok(None)
    }
}

/// Whether a record is of that kind, or says so of a privileged role.
fn is_of_kind(record: &AuditRecord, kind: AuditKind) -> bool {
    let privileged = || {
        let named = record.detail.strip_prefix(kind.name());
        named.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    record.kind == kind || record.kind == AuditKind::PrivilegedRoleChanged && privileged()
}

/// Whether a detail is that text, or the beginning of it where it was too long.
pub(in crate::engine) fn tells(detail: &str, text: &str) -> bool {
    detail == text || detail.strip_suffix('…').is_some_and(|beginning| text.starts_with(beginning))
}

/// Whether the detail of a record of grants lists the permission: ranges such as `3-5 9` after the word.
fn lists(detail: &str, permission: Permission) -> bool {
    let Some((_, ranges)) = detail.rsplit_once("permissions") else { return false };
    ranges.split(' ').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&permission.bit()))
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.decision.is_allowed() { "allowed" } else { "denied" };
        let (user, permission) = (
            named(self.user, self.names.user.as_ref()),
            named(self.permission, self.names.permission.as_ref()),
        );
        write!(f, "{user}, {permission}, at {}", self.names.scope(self.scope))?;
        if let Some(session) = self.session {
            write!(f, ", in {session}")?;
        }
        writeln!(f, ": {verdict}")?;
        for finding in &self.findings {
            match finding {
                Finding::NoUser => writeln!(f, "  there is no such user")?,
                Finding::NotActive(status) => writeln!(f, "  the user may not log in ({status:?})")?,
                Finding::NoScope => writeln!(f, "  there is no such scope")?,
                Finding::NoPermission => writeln!(f, "  there is no such permission")?,
                Finding::NotTheImpersonator(user) => {
                    writeln!(f, "  {user} acts in the session, and may not do it")?;
                }
            }
        }
        for link in &self.links {
            let verb = if link.effect == Effect::Deny { "denied" } else { "given" };
            write!(f, "  {verb} at {}", self.names.scope(link.scope))?;
            match link.roles.split_first() {
                None => write!(f, " without a role")?,
                Some((assigned, below)) => {
                    write!(f, " by {}", self.names.role(*assigned))?;
                    for role in below {
                        write!(f, ", which inherits from {}", self.names.role(*role))?;
                    }
                }
            }
            match link.standing {
                Standing::Holds => writeln!(f)?,
                Standing::NotBegun => writeln!(f, "; it has not begun")?,
                Standing::Ended => writeln!(f, "; it is over")?,
                Standing::Elsewhere => writeln!(f, "; that is another place")?,
                Standing::NotActive => writeln!(f, "; it is not active in the session")?,
            }
            for record in link.records.iter().flatten() {
                writeln!(f, "    {record}")?;
            }
        }
        let counts = |effect| move |link: &Link| link.standing == Standing::Holds && link.effect == effect;
        if !self.decision.is_allowed() && self.findings.is_empty() {
            match self.links.iter().any(counts(Effect::Deny)) {
                true => writeln!(f, "  what denies it must go before anything can give it")?,
                false => writeln!(f, "  nothing that counts here gives it")?,
            }
        }
        if !self.would_give.is_empty() {
            let roles: Vec<String> = self.would_give.iter().map(|role| self.names.role(*role)).collect();
            writeln!(f, "  it would be given by {}", roles.join(", "))?;
        }
        Ok(())
    }
}
