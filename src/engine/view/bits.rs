//! Words of permissions and of flags: what roles, and what all that a user holds, come to.

use crate::id::Flag;
use crate::permission::Permission;

/// Words of permissions: given, and denied. Words of flags, whose bits are none of theirs: turned on, and off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) allowed: Vec<u64>,
    pub(super) denied: Vec<u64>,
    pub(super) on: Vec<u64>,
    pub(super) off: Vec<u64>,
}

impl Bits {
    pub(super) const fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && !self.flagged()
    }

    /// Whether any flag is turned on or off.
    pub(super) const fn flagged(&self) -> bool {
        !self.on.is_empty() || !self.off.is_empty()
    }

    pub(super) fn clear(&mut self) {
        for words in [&mut self.allowed, &mut self.denied, &mut self.on, &mut self.off] {
            words.clear();
        }
    }

    /// Takes another one's bits in; where it is assigned as a denial, all that it gives is denied, and what it turns on
    /// is off.
    pub(super) fn add(&mut self, other: &Self, denies: bool) {
        union(if denies { &mut self.denied } else { &mut self.allowed }, &other.allowed);
        union(&mut self.denied, &other.denied);
        if other.flagged() {
            union(if denies { &mut self.off } else { &mut self.on }, &other.on);
            union(&mut self.off, &other.off);
        }
    }

    pub(super) fn add_one(&mut self, permission: Permission, denies: bool) {
        let (words, bit) = match permission.bit().checked_sub(Permission::LIMIT) {
            None => (
                if denies { &mut self.denied } else { &mut self.allowed },
                (permission.word(), permission.mask()),
            ),
            Some(flag) if flag < Flag::LIMIT => {
                let flag = Flag::from_number(flag);
                (if denies { &mut self.off } else { &mut self.on }, (flag.word(), flag.mask()))
            }
            // Damaged data: nothing has this bit.
            Some(_) => return,
        };
        set_bit(words, bit, true);
    }
}

/// Whether it stands for a flag: what is turned on for a user is no right that a session could do without.
pub(super) const fn is_flag(permission: Permission) -> bool {
    permission.bit() >= Permission::LIMIT
}

/// Sets a bit or clears it; there is no empty word at the end.
pub(super) fn set_bit(words: &mut Vec<u64>, (index, mask): (usize, u64), set: bool) {
    if set && words.len() <= index {
        words.resize(index + 1, 0);
    }
    if let Some(word) = words.get_mut(index) {
        *word = if set { *word | mask } else { *word & !mask };
    }
    while words.last() == Some(&0) {
        words.pop();
    }
}

pub(super) fn union(out: &mut Vec<u64>, words: &[u64]) {
    if out.len() < words.len() {
        out.resize(words.len(), 0);
    }
    for (mine, theirs) in out.iter_mut().zip(words) {
        *mine |= theirs;
    }
}
