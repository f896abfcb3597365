//! Feature flags: defining them, turning them on and off, and their rules.

mod explain;

pub use explain::{AppliedRule, FlagExplanation, FlagStep};

use super::Portcullis;
use super::assignments::{giver, scope_is_there};
use super::bookkeeping::{Leftover, Sequence};
use super::ids::stage_next;
use super::page::{Page, PageRequest};
use super::write::{Entry, Plan};
use crate::audit::{AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::flag::{
    self, FLAG_RULE_BY_TARGET, FlagChange, FlagInfo, FlagRecord, FlagRule, FlagRuleRecord, FlagState,
    FlagTarget, NewFlag,
};
use crate::grant::Grant;
use crate::id::{Flag, Key, ScopeId};
use crate::role::{self, RoleRecord};
use crate::scope;
use crate::store::{self, Record, Store, Stored, Table};
use crate::user::{self, UserRecord};

/// Defines feature flags and says for whom they are on; get it from [`Portcullis::flags`].
///
/// [`Portcullis::is_enabled`] and [`Principal::is_enabled`](crate::Principal::is_enabled) ask, at the price of a check.
/// They decide in this order, at one moment:
///
/// 1. No, for a flag, user or scope that does not exist, and for whoever may not log in.
/// 2. The state, where it is [`FlagState::Off`] or [`FlagState::On`].
/// 3. No, if a rule applies that turns the flag off: for the user, for a role that the user holds or inherits, for a
///    scope on the way up. It does not matter which of them stands nearer.
/// 4. Yes, if a rule applies that turns it on.
/// 5. Yes, if the user's [bucket](Flag::bucket) is below the percentage.
/// 6. The default.
///
/// Without a scope only what holds everywhere counts; at a scope, what holds there, above it, and everywhere. A role that
/// is assigned as a denial turns off what rules for that role turn on, as it forbids what the role grants. A flag is no
/// permission: it is not granted, not checked, and not listed as one.
///
/// In a session that selected its roles, rules that turn a flag on for a role count where the role is active; rules for
/// the user and for scopes count in every session, and so does what turns a flag off.
///
/// No delegation covers flags: a handle from [`Portcullis::delegated`] can change none.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{FlagState, FlagTarget, NewFlag, NewUser, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// let checkout = gate.flags().define(NewFlag::new("checkout:new").owner("payments"))?;
/// let testers = gate.roles().create("testers", [])?;
/// let [ada, bob] = ["ada", "bob"].map(|login| gate.users().create(NewUser::new(login)));
/// let (ada, bob) = (ada?.id, bob?.id);
/// gate.roles().assign(ada, testers)?;
///
/// gate.flags().turn_on(checkout, FlagTarget::Role(testers))?;
/// assert!(gate.is_enabled(checkout, ada)? && !gate.is_enabled(checkout, bob)?);
/// gate.flags().set_percentage(checkout, 10_000)?; // 100 %
/// assert!(gate.is_enabled(checkout, bob)?);
/// gate.flags().set(checkout, FlagState::Off)?; // off for everybody, from the very next question on
/// assert!(!gate.is_enabled(checkout, ada)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Flags<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Flags<'_> {
    /// The flag of that name, defined now if it was not before: safe to call at every start. One that is defined already
    /// keeps its description, owner and default, which [`update`](Self::update) changes. A new one is
    /// [targeted](FlagState::Targeted), without rules and at 0 %.
    ///
    /// # Errors
    /// `InvalidInput` names the field; `LimitExceeded` after 65,536 definitions; the storage kinds.
    pub fn define(&self, new: impl Into<NewFlag>) -> Result<Flag> {
        let new: NewFlag = new.into();
        let (flag, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            if let Some(found) = flag::find(plan.store, &new.name)? {
                return Ok(found.record.flag);
            }
            let limit = u64::from(Flag::LIMIT);
            let number = stage_next(plan.store, &mut plan.batch, Sequence::Flag, 1, limit)?;
            let number =
                u32::try_from(number).map_err(|_| Error::limit("flag", "flag numbers are used up"))?;
            let flag = Flag::from_number(number);
            flag::stage_define(&mut plan.batch, flag, &new, plan.now)?;
            let detail = format!("{}: default {}", new.name, if new.default { "on" } else { "off" });
            plan.record(AuditKind::FlagDefined, Entry::of(Subject::Flag(flag)).detail(detail))?;
            Ok(flag)
        })?;
        Ok(flag)
    }

    /// The flag of that number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, flag: Flag) -> Result<FlagInfo> {
        flag::read_flag(&*self.gate.engine().store, flag).map(FlagInfo::from)
    }

    /// The flag of that name.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find(&self, name: &str) -> Result<Option<FlagInfo>> {
        Ok(flag::find(&*self.gate.engine().store, name)?.map(FlagInfo::from))
    }

    /// All flags, by number.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<FlagInfo>> {
        let store = &*self.gate.engine().store;
        let (found, next) = store::page::<FlagRecord>(store, &page.scan(FlagRecord::TABLE, &[])?)?;
        Ok(Page::new(found.into_iter().map(FlagInfo::from).collect(), FlagRecord::TABLE, next))
    }

    /// Changes the name, the description, the owner or the default. A change to what it is already writes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the expected stamp is not the present one; `AlreadyExists` where the name is taken;
    /// `InvalidInput` names the field; the storage kinds.
    pub fn update(&self, flag: Flag, change: FlagChange) -> Result<FlagInfo> {
        let ((found, changed), stamp) = self.gate.engine().write(self.gate.actor(), move |plan| {
            let (found, changed) = flag::stage_change(plan.store, &mut plan.batch, flag, &change, plan.now)?;
            if !changed.is_empty() {
                // The default comes last, where `explain` looks for it.
                let detail = format!("{}: {}", found.record.name, changed.join(", "));
                plan.record(AuditKind::FlagUpdated, Entry::of(Subject::Flag(flag)).detail(detail))?;
            }
            Ok((found, !changed.is_empty()))
        })?;
        Ok(FlagInfo::from(if changed { Stored { version: stamp.into(), ..found } } else { found }))
    }

    /// Sets the flag off for everybody, on for everybody, or lets rules, percentage and default decide. The rules stay,
    /// whatever it is set to.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn set(&self, flag: Flag, state: FlagState) -> Result<()> {
        self.change(AuditKind::FlagSet, flag, &state.to_string(), |plan| {
            flag::stage_state(plan.store, &mut plan.batch, flag, state, plan.now)
        })
    }

    /// Turns the flag on for so many of the users, in hundredths of a percent, 0 to 10,000: those whose
    /// [bucket](Flag::bucket) is below it. Whoever is in stays in when it grows.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for more than 10,000; the storage kinds.
    pub fn set_percentage(&self, flag: Flag, hundredths: u16) -> Result<()> {
        let detail = format!("{}.{:02} %", hundredths / 100, hundredths % 100);
        self.change(AuditKind::FlagPercentageSet, flag, &detail, |plan| {
            flag::stage_percentage(plan.store, &mut plan.batch, flag, hundredths, plan.now)
        })
    }

    /// Stages a change and its record, unless there is nothing to change.
    fn change(
        &self,
        kind: AuditKind,
        flag: Flag,
        detail: &str,
        stage: impl Fn(&mut Plan<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| match stage(plan)? {
            true => plan.record(kind, Entry::of(Subject::Flag(flag)).detail(detail)),
            false => Ok(()),
        })?;
        Ok(())
    }

    /// Turns the flag on for a target, for ever; for a user, everywhere. As [`set_rule`](Self::set_rule) without terms.
    ///
    /// # Errors
    /// As [`set_rule`](Self::set_rule).
    pub fn turn_on(&self, flag: Flag, target: FlagTarget) -> Result<()> {
        self.set_rule(flag, target, &Grant::new())
    }

    /// Turns the flag off for a target, for ever; for a user, everywhere.
    ///
    /// # Errors
    /// As [`set_rule`](Self::set_rule).
    pub fn turn_off(&self, flag: Flag, target: FlagTarget) -> Result<()> {
        self.set_rule(flag, target, &Grant::new().denying())
    }

    /// Turns the flag on for a target on these terms, or off where they are [denying](Grant::denying); in the place of a
    /// rule for that target at that scope. Only a rule for a user takes a scope of its own. Rules for users and scopes can
    /// begin and end; one for a role lasts as long as the role is held. A rule that is there already writes nothing.
    ///
    /// # Errors
    /// `NotFound` for a flag, role, user or scope that does not exist; `InvalidInput` for terms that break a rule, and
    /// for the global scope as a target; the storage kinds.
    pub fn set_rule(&self, flag: Flag, target: FlagTarget, terms: &Grant) -> Result<()> {
        let mut terms = terms.clone();
        terms.scope = flag::place(target, terms.scope)?;
        self.gate.engine().write(self.gate.actor(), |plan| {
            let terms = terms.clone().checked(plan.now)?;
            flag::read_flag(plan.store, flag)?;
            plan.batch.expect_present::<FlagRecord>(&flag);
            match target {
                FlagTarget::Role(role) => {
                    role::read_role(plan.store, role)?;
                    plan.batch.expect_present::<RoleRecord>(&role);
                }
                FlagTarget::User(user) => {
                    user::read_user(plan.store, user)?;
                    plan.batch.expect_present::<UserRecord>(&user);
                }
                FlagTarget::Scope(_) => {}
            }
            if terms.scope != ScopeId::ROOT {
                scope::expect_tree(plan.store, &mut plan.batch)?;
                scope::tenant_of(plan.store, terms.scope)?;
            }
            let new = FlagRuleRecord { flag, target, terms, since: plan.now, by: giver(plan.actor) };
            if !flag::stage_rule(plan.store, &mut plan.batch, &new)? {
                plan.batch.expects.clear();
                return Ok(());
            }
            let entry = Entry::of(Subject::Flag(flag)).and(subject_of(target));
            plan.record(AuditKind::FlagRuleSet, entry.detail(new.describe()))
        })?;
        Ok(())
    }

    /// Takes a rule back; that for a user at this scope. For a role or a scope, say [`ScopeId::ROOT`].
    ///
    /// # Errors
    /// `NotFound` where there is no such rule; `InvalidInput` for a scope where the target takes none; the storage kinds.
    pub fn remove_rule(&self, flag: Flag, target: FlagTarget, scope: ScopeId) -> Result<()> {
        let scope = flag::place(target, scope)?;
        self.gate.engine().write(self.gate.actor(), |plan| {
            let old = flag::stage_remove_rule(plan.store, &mut plan.batch, flag, target, scope)?;
            let entry = Entry::of(Subject::Flag(flag)).and(subject_of(target));
            plan.record(AuditKind::FlagRuleRemoved, entry.detail(old.describe()))
        })?;
        Ok(())
    }

    /// The rules of a flag: for roles, users, scopes, each by number; with those that have not begun, without those that
    /// have ended.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn rules(&self, flag: Flag, page: &PageRequest) -> Result<Page<FlagRule>> {
        let store = &*self.gate.engine().store;
        flag::read_flag(store, flag)?;
        let prefix = flag.bytes();
        let scan = page.scan(FlagRuleRecord::TABLE, &prefix)?;
        let (found, next) = store::page::<FlagRuleRecord>(store, &scan)?;
        self.live(found, FlagRuleRecord::TABLE, next)
    }

    /// The rules of all flags for a target, by flag; for a scope, all that were made there, for everybody and for single
    /// users.
    ///
    /// # Errors
    /// `NotFound` for a target that does not exist; `InvalidInput` for the global scope or a wrong page; the storage
    /// kinds.
    pub fn rules_for(&self, target: FlagTarget, page: &PageRequest) -> Result<Page<FlagRule>> {
        let store = &*self.gate.engine().store;
        flag::place(target, ScopeId::ROOT)?;
        match target {
            FlagTarget::Role(role) => role::read_role(store, role).map(drop)?,
            FlagTarget::User(user) => user::read_user(store, user).map(drop)?,
            FlagTarget::Scope(scope) => scope::path_of(store, scope).map(drop)?,
        }
        let prefix = target.key().bytes();
        let scan = page.scan(FLAG_RULE_BY_TARGET, &prefix)?;
        let (found, next) = store::page_by::<FlagRuleRecord>(store, FLAG_RULE_BY_TARGET, &scan)?;
        self.live(found, FLAG_RULE_BY_TARGET, next)
    }

    fn live(
        &self,
        found: Vec<Stored<FlagRuleRecord>>,
        table: Table,
        next: Option<Vec<u8>>,
    ) -> Result<Page<FlagRule>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.now());
        let mut items = Vec::with_capacity(found.len());
        for rule in found {
            if is_live(store, &rule.record, now)? {
                items.push(rule.record.into());
            }
        }
        Ok(Page::new(items, table, next))
    }

    /// Deletes a flag with its rules: it is off for everybody from the very next question on. Its number is never used
    /// again, and a flag defined later under the same name is another one.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn delete(&self, flag: Flag) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = flag::read_flag(plan.store, flag)?;
            plan.batch.remove(&old);
            plan.leave(Leftover::Flag(flag))?;
            plan.record(
                AuditKind::FlagDeleted,
                Entry::of(Subject::Flag(flag)).detail(old.record.name.as_str()),
            )
        })?;
        engine.sweep_after(Leftover::Flag(flag));
        Ok(())
    }
}

const fn subject_of(target: FlagTarget) -> Subject {
    match target {
        FlagTarget::Role(role) => Subject::Role(role),
        FlagTarget::User(user) => Subject::User(user),
        FlagTarget::Scope(scope) => Subject::Scope(scope),
    }
}

/// Whether the rule has not ended, and all that it names is there: those of what was deleted may not be swept yet.
fn is_live(store: &dyn Store, rule: &FlagRuleRecord, now: Timestamp) -> Result<bool> {
    let target = match rule.target {
        FlagTarget::Role(role) => store.get(RoleRecord::TABLE, &role.bytes())?.is_some(),
        FlagTarget::User(user) => store.get(UserRecord::TABLE, &user.bytes())?.is_some(),
        FlagTarget::Scope(_) => true,
    };
    Ok(target
        && !rule.terms.has_ended(now)
        && store.get(FlagRecord::TABLE, &rule.flag.bytes())?.is_some()
        && scope_is_there(store, rule.terms.scope)?)
}
