//! Why a flag is on or off for a user, with the audit record of what decided.

use super::{Flags, subject_of};
use crate::assignment::AssignmentRecord;
use crate::audit::{AuditKind, AuditRecord, Subject};
use crate::engine::Engine;
use crate::engine::review::tells;
use crate::engine::sessions::read_live_session;
use crate::error::{Error, ErrorKind, Result};
use crate::flag::{FlagRecord, FlagRule, FlagRuleRecord, FlagState, FlagTarget};
use crate::grant::Effect;
use crate::id::{Flag, Key, RoleId, ScopeId, SessionId, UserId};
use crate::scope;
use crate::store::{self, Scan};
use crate::user::{StatusKind, UserRecord};
use std::fmt;

/// Rules of a flag that an explanation looks through for those that would turn it on.
const MOST_RULES: usize = 100;

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlagStep {
    /// There is no such flag.
    NoFlag,
    /// There is no such user.
    NoUser,
    /// The user may not log in.
    NotActive(StatusKind),
    /// There is no such scope.
    NoScope,
    /// The flag is off or on for everybody.
    State(FlagState),
    /// A rule that turns it off, the first one of [`FlagExplanation::rules`], or one that turns it on where none turns
    /// it off.
    Rule,
    /// The user's bucket is below the percentage, in hundredths.
    Percentage(u16),
    /// The default.
    Default,
}

/// A rule that applies to a user here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedRule {
    /// The rule.
    pub rule: FlagRule,
    /// What it comes to: [`Effect::Deny`] for off, also where it turns the flag on for a role that is assigned as a
    /// denial.
    pub effect: Effect,
    /// The scope at which it applies: its own, or where the role is assigned.
    pub scope: ScopeId,
    /// For a role: the assigned one, then what it inherits from, down to the one that the rule names.
    pub roles: Vec<RoleId>,
    /// The audit record that made it; `None` where it is not among the latest 4,096 records of the flag.
    pub record: Option<AuditRecord>,
}

/// Why a flag is on for a user at a scope, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagExplanation {
    /// Which flag.
    pub flag: Flag,
    /// For whom.
    pub user: UserId,
    /// Where.
    pub scope: ScopeId,
    /// What [`is_enabled_at`](crate::Portcullis::is_enabled_at) answers.
    pub enabled: bool,
    /// What decided.
    pub step: FlagStep,
    /// The user's [bucket](Flag::bucket).
    pub bucket: u16,
    /// The rules that apply, those that turn the flag off first; empty unless the flag is targeted.
    pub rules: Vec<AppliedRule>,
    /// Where it is off for want of a rule: those of its rules that turn it on for others, or at another time; the first
    /// hundred.
    pub would_turn_on: Vec<FlagRule>,
    /// The audit record that made what decided: the rule, the state, the percentage or the default; `None` where
    /// something does not exist, and where it is not among the latest 4,096 records of the flag.
    pub record: Option<AuditRecord>,
}

impl Flags<'_> {
    /// Why a flag is on for a user now at a scope, or not: which step decided, each rule that applies, and the audit
    /// records that made them. For the question without a scope, say [`ScopeId::ROOT`].
    ///
    /// It reads the stored records of all that the user holds.
    ///
    /// # Errors
    /// The storage kinds; what does not exist is an answer and no error.
    pub fn explain(&self, flag: Flag, user: UserId, scope: ScopeId) -> Result<FlagExplanation> {
        self.gate.engine().explain_flag(flag, user, scope, None)
    }

    /// As [`explain`](Self::explain), for a session: of one that selected its roles, rules that turn the flag on for
    /// other roles do not count.
    ///
    /// # Errors
    /// `NotFound` for a session that is not live, or in which somebody acts who may not any more; the storage kinds.
    pub fn explain_session(&self, flag: Flag, session: SessionId, scope: ScopeId) -> Result<FlagExplanation> {
        let engine = self.gate.engine();
        let found = read_live_session(engine, session)?.record;
        if !engine.may_still_act(&found) {
            return Err(Error::not_found("session", session));
        }
        engine.explain_flag(flag, found.user, scope, found.roles.as_deref())
    }
}

impl Engine {
    fn explain_flag(
        &self,
        flag: Flag,
        user: UserId,
        scope: ScopeId,
        selected: Option<&[RoleId]>,
    ) -> Result<FlagExplanation> {
        let (step, enabled, rules) = self.weigh_flag(flag, user, scope, selected)?;
        let record = match &step {
            FlagStep::Rule => rules.first().and_then(|rule| rule.record.clone()),
            step => self.record_of_step(flag, step)?,
        };
        let would_turn_on = match (&step, enabled) {
            (FlagStep::Default, false) => {
                let prefix = flag.bytes();
                let scan = Scan { prefix: &prefix, limit: MOST_RULES, ..Scan::default() };
                let rules = store::page::<FlagRuleRecord>(&*self.store, &scan)?.0;
                let gives = |rule: &FlagRuleRecord| rule.terms.effect == Effect::Allow;
                rules.into_iter().map(|rule| rule.record).filter(gives).map(FlagRule::from).collect()
            }
            _ => Vec::new(),
        };
        let bucket = flag.bucket(user);
        Ok(FlagExplanation { flag, user, scope, enabled, step, bucket, rules, would_turn_on, record })
    }

    fn weigh_flag(
        &self,
        flag: Flag,
        user: UserId,
        scope: ScopeId,
        selected: Option<&[RoleId]>,
    ) -> Result<(FlagStep, bool, Vec<AppliedRule>)> {
        let (store, now) = (&*self.store, self.now());
        let Some(record) = store::read::<FlagRecord>(store, &flag)?.map(|found| found.record) else {
            return Ok((FlagStep::NoFlag, false, Vec::new()));
        };
        match store::read::<UserRecord>(store, &user)?.map(|found| found.record.status) {
            None => return Ok((FlagStep::NoUser, false, Vec::new())),
            Some(status) if !status.is_active_at(now) => {
                return Ok((FlagStep::NotActive(status.kind), false, Vec::new()));
            }
            Some(_) => {}
        }
        let levels = match scope::levels(store, scope) {
            Ok(levels) => levels,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((FlagStep::NoScope, false, Vec::new()));
            }
            Err(error) => return Err(error),
        };
        if record.state != FlagState::Targeted {
            return Ok((FlagStep::State(record.state), record.state == FlagState::On, Vec::new()));
        }
        let rules = self.applied_rules(flag, user, &levels, selected)?;
        if let Some(first) = rules.first() {
            return Ok((FlagStep::Rule, first.effect == Effect::Allow, rules));
        }
        if flag.bucket(user) < record.percentage {
            return Ok((FlagStep::Percentage(record.percentage), true, rules));
        }
        Ok((FlagStep::Default, record.default, rules))
    }

    /// The rules that apply at these levels, those that turn the flag off first.
    fn applied_rules(
        &self,
        flag: Flag,
        user: UserId,
        levels: &[ScopeId],
        selected: Option<&[RoleId]>,
    ) -> Result<Vec<AppliedRule>> {
        let (store, now) = (&*self.store, self.now());
        let mut found = Vec::new();
        for scope in levels.iter().copied() {
            let mut targets = vec![FlagTarget::User(user)];
            if scope != ScopeId::ROOT {
                targets.push(FlagTarget::Scope(scope));
            }
            for target in targets {
                let rule = store::read::<FlagRuleRecord>(store, &((flag, target.key()), scope))?;
                if let Some(rule) = rule.filter(|rule| rule.record.terms.holds_at(now)) {
                    let effect = rule.record.terms.effect;
                    found.push(self.applied(rule.record, effect, scope, Vec::new())?);
                }
            }
        }
        let prefix = user.bytes();
        let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
        for held in store::page::<AssignmentRecord>(store, &all)?.0 {
            let AssignmentRecord { role, terms, .. } = held.record;
            if !terms.holds_at(now) || !levels.contains(&terms.scope) {
                continue;
            }
            for (rule, roles) in self.rules_below(flag, role)? {
                let off = terms.effect == Effect::Deny || rule.terms.effect == Effect::Deny;
                let effect = if off { Effect::Deny } else { Effect::Allow };
                let named = roles.last().copied().unwrap_or(role);
                if off || self.is_active(selected, role, named)? {
                    found.push(self.applied(rule, effect, terms.scope, roles)?);
                }
            }
        }
        found.sort_by_key(|rule| rule.effect == Effect::Allow);
        Ok(found)
    }

    fn applied(
        &self,
        rule: FlagRuleRecord,
        effect: Effect,
        scope: ScopeId,
        roles: Vec<RoleId>,
    ) -> Result<AppliedRule> {
        let (object, detail) = (subject_of(rule.target), rule.describe());
        let record = self.made_by(Subject::Flag(rule.flag), |record| {
            record.kind == AuditKind::FlagRuleSet
                && record.object == Some(object)
                && tells(&record.detail, &detail)
        })?;
        Ok(AppliedRule { rule: rule.into(), effect, scope, roles, record })
    }

    /// The rules for a role and for all that it inherits from, each with the shortest chain down to its role.
    fn rules_below(&self, flag: Flag, top: RoleId) -> Result<Vec<(FlagRuleRecord, Vec<RoleId>)>> {
        self.chains_down(top, |role| {
            let key = ((flag, FlagTarget::Role(role).key()), ScopeId::ROOT);
            Ok(store::read::<FlagRuleRecord>(&*self.store, &key)?.map(|rule| rule.record))
        })
    }

    /// The audit record that made what decided, where that is no rule.
    fn record_of_step(&self, flag: Flag, step: &FlagStep) -> Result<Option<AuditRecord>> {
        let changed = |kind| move |record: &AuditRecord| record.kind == kind;
        let defined = |record: &AuditRecord| match record.kind {
            AuditKind::FlagDefined => true,
            AuditKind::FlagUpdated => {
                record.detail.ends_with("default on") || record.detail.ends_with("default off")
            }
            _ => false,
        };
        let subject = Subject::Flag(flag);
        match step {
            FlagStep::State(_) => self.made_by(subject, changed(AuditKind::FlagSet)),
            FlagStep::Percentage(_) => self.made_by(subject, changed(AuditKind::FlagPercentageSet)),
            FlagStep::Default => self.made_by(subject, defined),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for FlagExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on: bool| if on { "on" } else { "off" };
        let Self { flag, user, scope, enabled, .. } = self;
        writeln!(f, "{flag}, {user}, at {scope}: {}", word(*enabled))?;
        match &self.step {
            FlagStep::NoFlag => writeln!(f, "  there is no such flag")?,
            FlagStep::NoUser => writeln!(f, "  there is no such user")?,
            FlagStep::NotActive(status) => writeln!(f, "  the user may not log in ({status:?})")?,
            FlagStep::NoScope => writeln!(f, "  there is no such scope")?,
            FlagStep::State(state) => writeln!(f, "  it is {state} for everybody")?,
            FlagStep::Rule => writeln!(f, "  by a rule that turns it {}", word(*enabled))?,
            FlagStep::Percentage(percentage) => {
                writeln!(f, "  by the percentage: bucket {} is below {percentage}", self.bucket)?;
            }
            FlagStep::Default => writeln!(f, "  by default; the user's bucket is {}", self.bucket)?,
        }
        if self.step != FlagStep::Rule
            && let Some(record) = &self.record
        {
            writeln!(f, "    {record}")?;
        }
        if !self.would_turn_on.is_empty() {
            let targets: Vec<String> =
                self.would_turn_on.iter().map(|rule| rule.target.to_string()).collect();
            writeln!(f, "  rules turn it on for {}", targets.join(", "))?;
        }
        for applied in &self.rules {
            write!(f, "  {} for {}", word(applied.effect == Effect::Allow), applied.rule.target)?;
            if applied.scope != ScopeId::ROOT {
                write!(f, ", at {}", applied.scope)?;
            }
            if let Some((assigned, below)) = applied.roles.split_first() {
                write!(f, ", through {assigned}")?;
                for role in below {
                    write!(f, ", which inherits from {role}")?;
                }
            }
            writeln!(f)?;
            if let Some(record) = &applied.record {
                writeln!(f, "    {record}")?;
            }
        }
        Ok(())
    }
}
