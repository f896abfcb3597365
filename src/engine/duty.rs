//! What separation of duty forbids, decided in the plan of each change that could break it.
//!
//! Whoever gives a role or opens a session expects the sets and the hierarchy as they were read, and leaves a trace where
//! there are sets; whoever judges what others hold or have active expects the traces as they were read before. So of two
//! changes that are fine one by one and not together, the later one is planned again and sees the former.
//!
//! INVARIANT: no user holds as many roles of a static set as its number, and no live session has as many of a dynamic
//! one active; roles below an active one are active. A role that was selected and that its user does not have is not
//! active; where it would come back beside one that forbids it, it leaves the selection.

use super::Engine;
use super::assignments::scope_is_there;
use super::bookkeeping::Leftover;
use super::view::{Answer, ViewTime};
use super::write::{Entry, Plan};
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::grant::Effect;
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role;
use crate::separation::{self, SeparationKind, SeparationRecord, Traces};
use crate::session::{SESSION_BY_USER, SessionRecord};
use crate::store::{self, Record, Scan, Store};
use crate::user::{self, UserRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Most roles that a session can select.
pub(super) const MAX_SELECTED: usize = 256;
/// Sessions of one user that an assignment narrows one by one; if there are more, they all end.
const MOST_NARROWED: usize = 16;
/// What ended so short a time ago still counts: the time can go back a second unnoticed, and a check that is under way may
/// have begun before.
const MARGIN: Duration = Duration::from_secs(5);

/// A link between two roles that is not made yet.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) senior: RoleId,
    pub(super) junior: RoleId,
}

fn violation(set: &SeparationRecord, whose: impl std::fmt::Display, roles: &[RoleId], advice: &str) -> Error {
    let names: Vec<String> = roles.iter().take(8).map(RoleId::to_string).collect();
    let message = format!(
        "{whose} would have {} of the {} separation \"{}\", which allows fewer than {}; {advice}",
        names.join(", "),
        set.kind,
        set.name,
        set.cardinality
    );
    Error::new(ErrorKind::SeparationOfDuty, message).with_field("role")
}

fn members<'a>(set: &'a SeparationRecord, among: &'a BTreeSet<RoleId>) -> Vec<RoleId> {
    set.roles.iter().copied().filter(|role| among.contains(role)).collect()
}

/// The roles that a user was assigned, each once: those that have not ended, or only those that hold now.
pub(super) fn assigned(
    store: &dyn Store,
    user: UserId,
    now: Timestamp,
    begun: bool,
) -> Result<BTreeSet<RoleId>> {
    let prefix = user.bytes();
    let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
    let (mut roles, mut places) = (BTreeSet::new(), HashMap::new());
    for row in store::page::<AssignmentRecord>(store, &all)?.0.into_iter().map(|row| row.record) {
        let counts = if begun { row.terms.holds_at(now) } else { counts(&row, now) };
        if counts && row.terms.effect == Effect::Allow && is_there(store, &mut places, row.terms.scope)? {
            roles.insert(row.role);
        }
    }
    Ok(roles)
}

/// Whether an assignment has not ended, or only just.
fn counts(row: &AssignmentRecord, now: Timestamp) -> bool {
    !row.terms.has_ended(before(now))
}

fn before(now: Timestamp) -> Timestamp {
    let margin = u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(margin))
}

/// Whether the scope is there; what is assigned at one that was deleted may not be swept yet.
fn is_there(store: &dyn Store, known: &mut HashMap<ScopeId, bool>, scope: ScopeId) -> Result<bool> {
    if let Some(known) = known.get(&scope) {
        return Ok(*known);
    }
    let there = scope_is_there(store, scope)?;
    known.insert(scope, there);
    Ok(there)
}

/// Sees that a role can be given to these users, and narrows their sessions where it may not be active in them.
pub(super) fn before_assign(plan: &mut Plan<'_>, role: RoleId, users: &[UserId]) -> Result<()> {
    let Some(sets) = separation::expect_sets(plan.store, &mut plan.batch)? else { return Ok(()) };
    let traces = Traces::read(plan.store)?;
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let gained = role::with_juniors(plan.store, [role])?;
    let concerned = concerned(plan, &sets, &gained, &traces)?;
    for user in users.iter().filter(|_| !concerned.is_empty()) {
        let held = assigned(plan.store, *user, plan.now, false)?;
        let before = role::with_juniors(plan.store, held.iter().copied())?;
        let after: BTreeSet<RoleId> = before.union(&gained).copied().collect();
        let mut dynamic = Vec::new();
        for set in &concerned {
            match set.kind {
                SeparationKind::Static if set.forbids(set.count(&after)) => {
                    let advice = "take one of them from the user first";
                    return Err(violation(set, user, &members(set, &after), advice));
                }
                SeparationKind::Static => {}
                SeparationKind::Dynamic => dynamic.push(*set),
            }
        }
        narrow_sessions(plan, *user, &dynamic, Held { assigned: &held, before: &before, after: &after })?;
    }
    Ok(())
}

/// Sees that a user who is created in the same plan can begin with these roles, all of them together. There is no session
/// yet that could have too many active.
#[cfg(feature = "import")]
pub(super) fn before_first_roles(plan: &mut Plan<'_>, roles: &[RoleId]) -> Result<()> {
    let Some(sets) = separation::expect_sets(plan.store, &mut plan.batch)? else { return Ok(()) };
    let traces = Traces::read(plan.store)?;
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let gained = role::with_juniors(plan.store, roles.iter().copied())?;
    for set in concerned(plan, &sets, &gained, &traces)? {
        if set.kind == SeparationKind::Static && set.forbids(set.count(&gained)) {
            return Err(violation(set, "the user", &members(set, &gained), "give fewer of them"));
        }
    }
    Ok(())
}

/// The sets that have any of these roles in them, which somebody is to be given: leaves a trace of that, and expects those
/// of others as far as they are to be judged.
fn concerned<'s>(
    plan: &mut Plan<'_>,
    sets: &'s [SeparationRecord],
    gained: &BTreeSet<RoleId>,
    traces: &Traces,
) -> Result<Vec<&'s SeparationRecord>> {
    let concerned: Vec<&SeparationRecord> = sets.iter().filter(|set| set.count(gained) > 0).collect();
    if concerned.is_empty() {
        plan.gives_way = true;
    } else {
        traces.expect_roles(&mut plan.batch);
    }
    if concerned.iter().any(|set| set.kind == SeparationKind::Dynamic) {
        traces.expect_sessions(&mut plan.batch);
    }
    traces.leave_roles(&mut plan.batch)?;
    Ok(concerned)
}

/// What a user was assigned, and that with all that it inherits, before and after one role more.
#[derive(Clone, Copy)]
struct Held<'a> {
    assigned: &'a BTreeSet<RoleId>,
    before: &'a BTreeSet<RoleId>,
    after: &'a BTreeSet<RoleId>,
}

/// Fixes the user's sessions in which too many roles would be active to those that were active so far.
fn narrow_sessions(
    plan: &mut Plan<'_>,
    user: UserId,
    sets: &[&SeparationRecord],
    held: Held<'_>,
) -> Result<()> {
    if !sets.iter().any(|set| set.forbids(set.count(held.after))) {
        return Ok(());
    }
    let account = user::read_user(plan.store, user)?;
    let prefix = user.bytes();
    let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
    let mut narrowed = Vec::new();
    for session in store::page_by::<SessionRecord>(plan.store, SESSION_BY_USER, &all)?.0 {
        let record = &session.record;
        if record.generation < account.record.generation || record.expires <= before(plan.now) {
            continue;
        }
        let (roles, active) = match &record.roles {
            None => (held.assigned.iter().copied().collect(), held.after.clone()),
            // One that was lost and now comes back.
            Some(selected) => {
                let selected = selected.iter().copied();
                let active = selected.clone().filter(|role| held.after.contains(role));
                let left: Vec<RoleId> = selected.filter(|role| held.before.contains(role)).collect();
                (left, role::with_juniors(plan.store, active)?)
            }
        };
        if sets.iter().any(|set| set.forbids(set.count(&active))) {
            narrowed.push((session, roles));
        }
    }
    if narrowed.len() > MOST_NARROWED || narrowed.iter().any(|(_, roles)| roles.len() > MAX_SELECTED) {
        user::stage_generation(plan.store, &mut plan.batch, user)?;
        plan.leave(Leftover::Sessions(user))?;
        let entry = Entry::of(Subject::User(user)).detail("all: roles that are kept apart were assigned");
        return plan.record(AuditKind::SessionsRevoked, entry);
    }
    for (session, roles) in narrowed {
        plan.batch.replace(&session, &SessionRecord { roles: Some(roles), ..session.record.clone() })?;
        let entry = Entry::of(Subject::Session(session.record.id)).and(Subject::User(user));
        plan.record(
            AuditKind::RoleDeactivated,
            entry.detail("fixed to the roles so far: others were assigned"),
        )?;
    }
    Ok(())
}

/// Sees that a link between two roles gives nobody too much. To be called after the link was staged, so that the
/// hierarchy is expected as it is read here.
pub(super) fn before_link(engine: &Engine, plan: &mut Plan<'_>, link: Link) -> Result<()> {
    let Some(sets) = separation::expect_sets(plan.store, &mut plan.batch)? else { return Ok(()) };
    let traces = Traces::read(plan.store)?;
    let gained = role::with_juniors(plan.store, [link.junior])?;
    let concerned = concerned(plan, &sets, &gained, &traces)?;
    let (store, now) = (plan.store, plan.now);
    concerned.into_iter().try_for_each(|set| hold_to(engine, store, now, set, Some(link)))
}

/// Sees that a set, as it would be, is kept by everybody as they are.
pub(super) fn before_set(engine: &Engine, plan: &mut Plan<'_>, set: &SeparationRecord) -> Result<()> {
    let traces = Traces::read(plan.store)?;
    traces.expect_roles(&mut plan.batch);
    if set.kind == SeparationKind::Dynamic {
        traces.expect_sessions(&mut plan.batch);
    }
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    hold_to(engine, plan.store, plan.now, set, None)
}

/// As [`before_set`], before anything is staged.
pub(super) fn judge(engine: &Engine, set: &SeparationRecord) -> Result<()> {
    hold_to(engine, &*engine.store, engine.now(), set, None)
}

/// Which members of a set each role is or inherits from, as bits, for all roles that have any.
fn masks(store: &dyn Store, set: &SeparationRecord, link: Option<Link>) -> Result<BTreeMap<RoleId, u128>> {
    let mut masks: BTreeMap<RoleId, u128> = BTreeMap::new();
    for (place, member) in set.roles.iter().enumerate() {
        // One that was deleted may not be swept yet, nor what was assigned of it.
        if role::present(store, &[*member])?.is_empty() {
            continue;
        }
        let bit = 1u128 << place;
        let mut open = vec![*member];
        while let Some(role) = open.pop() {
            let mask = masks.entry(role).or_default();
            if *mask & bit != 0 {
                continue;
            }
            *mask |= bit;
            open.extend(role::heirs(store, role)?);
            open.extend(link.filter(|link| link.junior == role).map(|link| link.senior));
        }
    }
    Ok(masks)
}

fn hold_to(
    engine: &Engine,
    store: &dyn Store,
    now: Timestamp,
    set: &SeparationRecord,
    link: Option<Link>,
) -> Result<()> {
    let masks = masks(store, set, link)?;
    let (mut users, mut places): (HashMap<UserId, u128>, _) = (HashMap::new(), HashMap::new());
    for (role, mask) in &masks {
        let (prefix, mut after) = (role.bytes(), None::<Vec<u8>>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 1024, descending: false };
            let (rows, next) = store::page_by::<AssignmentRecord>(store, ASSIGNMENT_BY_ROLE, &scan)?;
            for row in rows.into_iter().map(|row| row.record) {
                if row.terms.effect == Effect::Allow
                    && counts(&row, now)
                    && is_there(store, &mut places, row.terms.scope)?
                {
                    *users.entry(row.user).or_default() |= mask;
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    let mut found: Vec<(UserId, u128)> =
        users.into_iter().filter(|(_, mask)| set.forbids(mask.count_ones() as usize)).collect();
    found.sort_unstable();
    for (user, mask) in found {
        if store.get(UserRecord::TABLE, &user.bytes())?.is_none() {
            continue; // deleted, and not swept yet
        }
        match set.kind {
            SeparationKind::Static => {
                return Err(violation(set, user, &named(set, mask), "take one of them from the user first"));
            }
            SeparationKind::Dynamic => hold_sessions_to(engine, (store, now), (set, &masks), user, link)?,
        }
    }
    Ok(())
}

fn named(set: &SeparationRecord, mask: u128) -> Vec<RoleId> {
    let bits = set.roles.iter().enumerate();
    bits.filter(|(place, _)| mask >> place & 1 == 1).map(|(_, role)| *role).collect()
}

fn hold_sessions_to(
    engine: &Engine,
    (store, now): (&dyn Store, Timestamp),
    (set, masks): (&SeparationRecord, &BTreeMap<RoleId, u128>),
    user: UserId,
    link: Option<Link>,
) -> Result<()> {
    let assigned = assigned(store, user, now, false)?;
    let mut held = role::with_juniors(store, assigned.iter().copied())?;
    if let Some(link) = link.filter(|link| held.contains(&link.senior)) {
        held.extend(role::with_juniors(store, [link.junior])?);
    }
    let (prefix, account) = (user.bytes(), user::read_user(store, user)?);
    let scan = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
    // From the rows; the read model, which may be a commit behind, only knows better which ones are idle for too long.
    let is_live = |session: &SessionRecord| {
        session.generation >= account.record.generation
            && session.expires > before(now)
            && engine.view.find(session.id).is_none_or(|found| match session.family {
                None => engine.view.session_live(found.handle(), ViewTime::from(before(now))) != Answer::Gone,
                Some(_) => engine.view.session_stands(session.id, ViewTime::from(before(now))),
            })
    };
    let bits = |role: &RoleId| masks.get(role).copied().unwrap_or(0);
    for session in store::page_by::<SessionRecord>(store, SESSION_BY_USER, &scan)?.0 {
        let active = match &session.record.roles {
            None => assigned.iter().fold(0, |mask, role| mask | bits(role)),
            Some(selected) => {
                selected.iter().filter(|role| held.contains(role)).fold(0, |mask, role| mask | bits(role))
            }
        };
        let id = session.record.id;
        if set.forbids(active.count_ones() as usize) && is_live(&session.record) {
            let advice = format!("end that session of {user}, or drop one of the roles in it");
            return Err(violation(set, id, &named(set, active), &advice));
        }
    }
    Ok(())
}

/// The roles that a new session is to have, none for all: those that were asked for, if the user has them and they may
/// be active together; otherwise all, but for those that may not.
pub(super) fn for_new_session(
    plan: &mut Plan<'_>,
    user: UserId,
    asked: Option<&[RoleId]>,
) -> Result<Option<Vec<RoleId>>> {
    let sets = separation::expect_sets(plan.store, &mut plan.batch)?;
    let sets: Option<Vec<SeparationRecord>> =
        sets.map(|sets| sets.into_iter().filter(|set| set.kind == SeparationKind::Dynamic).collect());
    let (traces, sets) = match sets {
        None => (None, Vec::new()),
        Some(sets) => (Some(Traces::read(plan.store)?), sets),
    };
    if let Some(traces) = &traces {
        plan.gives_way = true;
        traces.leave_sessions(&mut plan.batch)?;
    }
    if asked.is_none() && sets.is_empty() {
        return Ok(None);
    }
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let Some(asked) = asked else {
        // Whoever is assigned a role meanwhile is to find this session, or to be found here.
        if let Some(traces) = &traces {
            traces.expect_roles(&mut plan.batch);
        }
        let held = assigned(plan.store, user, plan.now, false)?;
        let active = role::with_juniors(plan.store, held.iter().copied())?;
        let over: Vec<&SeparationRecord> =
            sets.iter().filter(|set| set.forbids(set.count(&active))).collect();
        if over.is_empty() {
            return Ok(None);
        }
        let mut left = Vec::new();
        for role in held {
            let below = role::with_juniors(plan.store, [role])?;
            if over.iter().all(|set| set.count(&below) == 0) {
                left.push(role);
            }
        }
        left.truncate(MAX_SELECTED);
        return Ok(Some(left));
    };
    let held = role::with_juniors(plan.store, assigned(plan.store, user, plan.now, true)?)?;
    let asked: BTreeSet<RoleId> = asked.iter().copied().collect();
    if let Some(missing) = asked.iter().find(|role| !held.contains(role)) {
        return Err(Error::not_found("role", format_args!("{missing} among the roles of {user}")));
    }
    may_be_active(plan.store, &sets, "the session", &asked)?;
    Ok(Some(asked.into_iter().collect()))
}

/// Sees that these roles may be active in one session.
fn may_be_active(
    store: &dyn Store,
    sets: &[SeparationRecord],
    whose: impl std::fmt::Display + Copy,
    roles: &BTreeSet<RoleId>,
) -> Result<()> {
    let active = role::with_juniors(store, roles.iter().copied())?;
    match sets.iter().find(|set| set.forbids(set.count(&active))) {
        Some(set) => Err(violation(set, whose, &members(set, &active), "drop one of them first")),
        None => Ok(()),
    }
}

/// Sees that a session may have these roles active, one of which is new.
pub(super) fn before_activation(
    plan: &mut Plan<'_>,
    session: &SessionRecord,
    roles: &BTreeSet<RoleId>,
) -> Result<()> {
    let Some(sets) = separation::expect_sets(plan.store, &mut plan.batch)? else { return Ok(()) };
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    plan.gives_way = true;
    Traces::read(plan.store)?.leave_sessions(&mut plan.batch)?;
    let sets: Vec<SeparationRecord> =
        sets.into_iter().filter(|set| set.kind == SeparationKind::Dynamic).collect();
    may_be_active(plan.store, &sets, session.id, roles)
}

impl Engine {
    /// What is wrong with a set, as everybody is now.
    pub(super) fn broken_separation(&self, set: &SeparationRecord) -> Result<Option<String>> {
        match hold_to(self, &*self.store, self.now(), set, None) {
            Err(error) if error.kind() == ErrorKind::SeparationOfDuty => Ok(Some(error.to_string())),
            done => done.map(|()| None),
        }
    }

    /// Whether there ever were sets of roles that are kept apart.
    pub(super) fn separates_duties(&self) -> Result<bool> {
        Ok(separation::expect_sets(&*self.store, &mut store::Batch::new())?.is_some())
    }
}
