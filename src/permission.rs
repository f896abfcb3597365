//! Permissions as bit numbers, and sets of them. Pure: no storage, no time.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A permission that an application defined: the number of its bit.
///
/// Get one from [`Permissions::define`](crate::Permissions::define) or
/// [`Permissions::find`](crate::Permissions::find). The number is stored with the name and is never used for another
/// name, so a value kept over a restart still means the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Permission(u32);

impl Permission {
    /// One more than the largest bit number: 1,048,576 permissions over the life of a database.
    pub const LIMIT: u32 = 1 << 20;

    /// The bit number.
    #[must_use]
    pub const fn bit(self) -> u32 {
        self.0
    }

    /// A permission by the number that [`bit`](Self::bit) returned; a number that names no defined permission is
    /// granted to nobody.
    #[must_use]
    pub const fn from_bit(bit: u32) -> Self {
        Self(bit)
    }

    pub(crate) const fn word(self) -> usize {
        (self.0 / 64) as usize
    }

    pub(crate) const fn mask(self) -> u64 {
        1 << (self.0 % 64)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permission({})", self.0)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission {}", self.0)
    }
}

/// A set of permissions, as wide as its largest member.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct PermissionSet(Vec<u64>);

impl PermissionSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one; true if it was not there. One beyond [`Permission::LIMIT`] names nothing and is not added.
    pub fn insert(&mut self, permission: Permission) -> bool {
        if permission.bit() >= Permission::LIMIT {
            return false;
        }
        if self.0.len() <= permission.word() {
            self.0.resize(permission.word() + 1, 0);
        }
        self.0.get_mut(permission.word()).is_some_and(|word| {
            let fresh = *word & permission.mask() == 0;
            *word |= permission.mask();
            fresh
        })
    }

    /// Takes one out; true if it was there.
    pub fn remove(&mut self, permission: Permission) -> bool {
        let held = self.contains(permission);
        if let Some(word) = self.0.get_mut(permission.word()) {
            *word &= !permission.mask();
        }
        self.trim();
        held
    }

    /// True if the permission is a member.
    #[must_use]
    pub fn contains(&self, permission: Permission) -> bool {
        self.0.get(permission.word()).is_some_and(|word| word & permission.mask() != 0)
    }

    /// Adds every member of another set.
    pub fn union_with(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Keeps only what is also in another set.
    pub fn intersect_with(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= theirs;
        }
        self.trim();
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = Permission> + '_ {
        (0u32..).zip(&self.0).flat_map(|(index, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| Permission(index * 64 + bit))
        })
    }

    /// The bits, 64 a word, lowest first, with no empty word at the end.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        let mut set = Self(words);
        set.trim();
        set
    }

    // INVARIANT: no empty word at the end, so that equal sets are equal values.
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let mut set = Self::new();
        for permission in permissions {
            set.insert(permission);
        }
        set
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::bit)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(ops in proptest::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let (mut set, mut model) = (PermissionSet::new(), BTreeSet::new());
            for (insert, bit) in ops {
                let p = Permission::from_bit(bit);
                if insert { prop_assert_eq!(set.insert(p), model.insert(bit)); }
                else { prop_assert_eq!(set.remove(p), model.remove(&bit)); }
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert_eq!(set.iter().map(Permission::bit).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let again: PermissionSet = set.iter().collect();
            prop_assert_eq!(&again, &set);
        }
    }

    #[test]
    fn a_bit_beyond_the_limit_is_never_a_member() {
        let mut set = PermissionSet::new();
        assert!(!set.insert(Permission::from_bit(u32::MAX)));
        assert!(!set.contains(Permission::from_bit(u32::MAX)));
        assert!(set.is_empty());
    }
}
