//! Records of the engine's own: numbers to hand out, and work that a crash must not forget.

use crate::id::{Flag, RoleId, ScopeId, UserId};
use crate::permission::Permission;
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};

pub(crate) const SEQUENCE: Table = Table::new(24, "sequence");
pub(crate) const LEFTOVER: Table = Table::new(25, "leftover");
pub(crate) const PROTECTION: Table = Table::new(41, "protection");
pub(crate) const TABLES: &[Table] = &[SEQUENCE, LEFTOVER, PROTECTION];

/// Which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sequence {
    User,
    Role,
    Permission,
    Scope,
    Separation,
    Flag,
}

/// The first number that nobody has reserved yet. It only rises, also when what had a number is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SequenceRecord {
    pub(crate) sequence: Sequence,
    pub(crate) next: u64,
}

impl Record for SequenceRecord {
    const TABLE: Table = SEQUENCE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        self.sequence as u8
    }
}

/// Rows that mean nothing any more because what they belong to is gone, and that are still to be removed.
///
/// Deleting is one small atomic commit however much hangs on what is deleted: numbers are never reused, so rows of a
/// deleted user or role have no effect. This record travels in the same commit, and whoever sweeps removes it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leftover {
    /// All rows of a deleted user.
    User(UserId),
    /// All rows of a deleted role, and the edges to it.
    Role(RoleId),
    /// The bit of a deleted permission in the grants of roles.
    Permission(Permission),
    /// Sessions of the user that are of an older generation than the user.
    Sessions(UserId),
    /// All that lies in a deleted scope or was assigned there, and the roles of a deleted tenant.
    Scope(ScopeId),
    /// The rules of a deleted flag.
    Flag(Flag),
    /// Sessions that are not sure enough for this role, or one that inherits from it, which has come to ask for a second
    /// factor. Unlike the others they have an effect: see [`demand`](super::demand).
    Demand(RoleId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftoverRecord {
    pub(crate) what: Leftover,
    /// Tells two markers of one thing apart, so that sweeping for the first can not drop the second.
    pub(crate) mark: u64,
}

impl LeftoverRecord {
    /// What the keys of markers begin with whose sessions must end before anything else goes on.
    pub(crate) const DEMAND: u8 = 9;
}

impl Record for LeftoverRecord {
    const TABLE: Table = LEFTOVER;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = ((u8, u64), u64);

    fn key(&self) -> Self::Key {
        let what = match self.what {
            Leftover::User(id) => (0, id.get()),
            Leftover::Role(id) => (1, u64::from(id.get())),
            Leftover::Permission(permission) => (2, u64::from(permission.bit())),
            Leftover::Sessions(id) => (3, id.get()),
            Leftover::Scope(id) => (4, u64::from(id.get())),
            Leftover::Flag(flag) => (8, u64::from(flag.get())),
            Leftover::Demand(id) => (Self::DEMAND, u64::from(id.get())),
        };
        (what, self.mark)
    }
}

/// One row that every change rewrites which could take a holder from a protected role, and every change of what is
/// protected: two removals that are fine one by one meet here, and one of them is planned again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProtectionRecord {
    pub(crate) edits: u64,
}

impl Record for ProtectionRecord {
    const TABLE: Table = PROTECTION;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}
