//! How flags and their rules are stored.

use super::{FlagInfo, FlagRule, FlagState, FlagTarget};
use crate::clock::Timestamp;
use crate::grant::{Effect, Grant};
use crate::id::{Flag, ScopeId, UserId};
use crate::store::{Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};

pub(crate) const FLAG: Table = Table::new(50, "flag");
pub(crate) const FLAG_BY_NAME: Table = Table::new(51, "flag_by_name");
pub(crate) const FLAG_RULE: Table = Table::new(52, "flag_rule");
pub(crate) const FLAG_RULE_BY_TARGET: Table = Table::new(53, "flag_rule_by_target");
pub(crate) const FLAG_RULE_BY_END: Table = Table::new(54, "flag_rule_by_end");
pub(crate) const TABLES: &[Table] = &[FLAG, FLAG_BY_NAME, FLAG_RULE, FLAG_RULE_BY_TARGET, FLAG_RULE_BY_END];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlagRecord {
    pub(crate) flag: Flag,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: String,
    pub(crate) default: bool,
    pub(crate) state: FlagState,
    pub(crate) percentage: u16,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Record for FlagRecord {
    const TABLE: Table = FLAG;
    const INDEXES: &'static [Index<Self>] =
        &[Index::unique(FLAG_BY_NAME, |flag, keys| keys.add_text(&flag.name))];
    type Key = Flag;

    fn key(&self) -> Flag {
        self.flag
    }
}

impl From<Stored<FlagRecord>> for FlagInfo {
    fn from(stored: Stored<FlagRecord>) -> Self {
        let FlagRecord { flag, name, description, owner, default, state, percentage, created, updated } =
            stored.record;
        let stamp = stored.version.into();
        Self { flag, name, description, owner, default, state, percentage, created, updated, stamp }
    }
}

/// A rule; a denial turns the flag off.
// INVARIANT: `terms.scope` is the global one for a role, and the scope itself for a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlagRuleRecord {
    pub(crate) flag: Flag,
    pub(crate) target: FlagTarget,
    pub(crate) terms: Grant,
    pub(crate) since: Timestamp,
    pub(crate) by: Option<UserId>,
}

impl FlagRuleRecord {
    /// For the audit log.
    pub(crate) fn describe(&self) -> String {
        let effect = if self.terms.effect == Effect::Deny { "off" } else { "on" };
        let terms = Grant { effect: Effect::Allow, ..self.terms.clone() }.describe();
        if terms.is_empty() { effect.to_owned() } else { format!("{effect} {terms}") }
    }
}

impl Record for FlagRuleRecord {
    const TABLE: Table = FLAG_RULE;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(FLAG_RULE_BY_TARGET, |rule, keys| {
            keys.add(&rule.target.key());
            // What is made at a scope is found by the scope, too: it goes with it.
            if matches!(rule.target, FlagTarget::User(_)) && rule.terms.scope != ScopeId::ROOT {
                keys.add(&FlagTarget::Scope(rule.terms.scope).key());
            }
        }),
        Index::many(FLAG_RULE_BY_END, |rule, keys| {
            if let Some(until) = rule.terms.until {
                keys.add(&until.as_millis());
            }
        }),
    ];
    type Key = ((Flag, (u8, u64)), ScopeId);

    fn key(&self) -> Self::Key {
        ((self.flag, self.target.key()), self.terms.scope)
    }
}

impl From<FlagRuleRecord> for FlagRule {
    fn from(record: FlagRuleRecord) -> Self {
        let FlagRuleRecord { flag, target, terms, since, by } = record;
        Self { flag, target, scope: terms.scope, effect: terms.effect, terms, since, by }
    }
}
