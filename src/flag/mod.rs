//! Feature flags: on or off for everybody, or by role, user, scope and percentage.
//!
//! A flag is answered from the same sets as a permission, and is none. Its number counts from 0 like that of a
//! permission, but its bit in the view lies beyond [`Permission::LIMIT`]: no permission can have it, no
//! [`PermissionSet`](crate::permission::PermissionSet) can hold it, and a check of it is always refused.

mod ops;
mod record;

pub(crate) use ops::{
    find, place, read_flag, stage_change, stage_define, stage_percentage, stage_remove_rule, stage_rule,
    stage_state,
};
pub(crate) use record::{
    FLAG, FLAG_RULE, FLAG_RULE_BY_END, FLAG_RULE_BY_TARGET, FlagRecord, FlagRuleRecord, TABLES,
};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::grant::{Effect, Grant};
use crate::id::{Flag, RoleId, ScopeId, Stamp, UserId};
use crate::permission::Permission;
use serde::{Deserialize, Serialize};

/// The whole, in hundredths of a percent.
pub(crate) const WHOLE: u16 = 10_000;

impl Flag {
    /// One more than the largest flag number: 65,536 flags over the life of a database.
    pub const LIMIT: u32 = 1 << 16;

    /// Where a user stands between 0 and 9,999 for this flag: a percentage holds for the users whose bucket is below
    /// it, so that whoever is in stays in when it grows.
    ///
    /// It is the same on every machine and in every version: output number `flag * 2^32 + user + 1` of SplitMix64
    /// (Steele, Lea and Flood, OOPSLA 2014) seeded with 0, whose upper 32 bits are multiplied by 10,000 and shifted
    /// right by 32. Different flags sort the users in orders that have nothing to do with each other. It is no secret,
    /// and nothing that needs protection may hang on it.
    ///
    /// ```
    /// use portcullis::{Flag, UserId};
    /// // The first output of SplitMix64 is 0xe220a8397b1dcdaf.
    /// assert_eq!(Flag::from_number(0).bucket(UserId::from_number(0)), 8833);
    /// ```
    #[must_use]
    #[inline]
    pub const fn bucket(self, user: UserId) -> u16 {
        let number = ((self.get() as u64) << 32).wrapping_add(user.get()).wrapping_add(1);
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((((mixed ^ (mixed >> 31)) >> 32) * WHOLE as u64) >> 32) as u16
    }

    /// The bit that stands for the flag in the sets of the view, where no permission can be.
    pub(crate) const fn bit(self) -> Permission {
        Permission::from_bit(Permission::LIMIT.saturating_add(self.get()))
    }

    pub(crate) const fn word(self) -> usize {
        (self.get() / 64) as usize
    }

    pub(crate) const fn mask(self) -> u64 {
        1 << (self.get() % 64)
    }
}

/// Whether a flag is decided for everybody at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FlagState {
    /// False for everybody, whatever the rules say.
    Off,
    /// True for everybody, whatever the rules say.
    On,
    /// Rules, percentage and default decide.
    #[default]
    Targeted,
}

impl std::fmt::Display for FlagState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Targeted => "targeted",
        })
    }
}

/// A flag as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagInfo {
    /// What to ask with.
    pub flag: Flag,
    /// Such as `checkout:new`; unique.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Who answers for it, in the application's own words; may be empty.
    pub owner: String,
    /// What it is for whom nothing else decides.
    pub default: bool,
    /// Whether it is off or on for everybody, or rules decide.
    pub state: FlagState,
    /// For how many of the users it is on by chance, in hundredths of a percent, 0 to 10,000.
    pub percentage: u16,
    /// When it was defined.
    pub created: Timestamp,
    /// When anything of the above last changed; rules are on record for themselves.
    pub updated: Timestamp,
    /// Hand it back with a change to be sure nobody else changed the flag meanwhile.
    pub stamp: Stamp,
}

/// A flag to define: off until a rule, a percentage or a state turns it on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct NewFlag {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: String,
    pub(crate) default: bool,
}

impl NewFlag {
    /// A flag of that name: 1 to 128 bytes of printable text.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: String::new(), owner: String::new(), default: false }
    }

    /// What it is for; at most 512 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Who answers for it: a team, an address; at most 512 bytes.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// What it is for whom nothing else decides; false unless it is said here.
    pub fn on_by_default(mut self, on: bool) -> Self {
        self.default = on;
        self
    }
}

impl From<&str> for NewFlag {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// A change to a flag: what is set here changes, all of it or nothing.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FlagChange {
    pub(crate) expect: Option<Stamp>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) default: Option<bool>,
}

impl FlagChange {
    /// A change that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the change with a conflict unless the flag still has this stamp.
    pub fn expect(mut self, stamp: Stamp) -> Self {
        self.expect = Some(stamp);
        self
    }

    /// Renames the flag.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Describes the flag anew; at most 512 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Gives the flag to another owner; at most 512 bytes.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Changes what the flag is for whom nothing else decides.
    pub fn on_by_default(mut self, on: bool) -> Self {
        self.default = Some(on);
        self
    }
}

/// For whom a rule turns a flag on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FlagTarget {
    /// Whoever holds the role, itself or through a role that inherits from it: where it is held and for as long.
    Role(RoleId),
    /// One user: everywhere, or at the scope of the rule's terms and below it.
    User(UserId),
    /// Everybody, at a scope below the global one and in all that lies in it.
    Scope(ScopeId),
}

impl FlagTarget {
    /// By which rules are found.
    pub(crate) const fn key(self) -> (u8, u64) {
        match self {
            Self::Role(role) => (0, role.get() as u64),
            Self::User(user) => (1, user.get()),
            Self::Scope(scope) => (2, scope.get() as u64),
        }
    }

    pub(crate) fn of_key((tag, number): (u8, u64)) -> Result<Self> {
        let short = || u32::try_from(number).map_err(|_| Error::damaged("a flag rule names what can not be"));
        match tag {
            0 => Ok(Self::Role(RoleId::from_number(short()?))),
            1 => Ok(Self::User(UserId::from_number(number))),
            2 => Ok(Self::Scope(ScopeId::from_number(short()?))),
            _ => Err(Error::damaged(format!("a flag rule has a target of the unknown sort {tag}"))),
        }
    }
}

impl std::fmt::Display for FlagTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Role(role) => role.fmt(f),
            Self::User(user) => user.fmt(f),
            Self::Scope(scope) => scope.fmt(f),
        }
    }
}

/// A rule of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagRule {
    /// The flag.
    pub flag: Flag,
    /// For whom.
    pub target: FlagTarget,
    /// Where it counts, and below; for a role [`ScopeId::ROOT`], which is wherever the role is held.
    pub scope: ScopeId,
    /// [`Effect::Allow`] where it turns the flag on, [`Effect::Deny`] where off.
    pub effect: Effect,
    /// Its terms, of which the two above are part.
    pub terms: Grant,
    /// Since when it is on record.
    pub since: Timestamp,
    /// Who made it; `None` where the application did so itself.
    pub by: Option<UserId>,
}
