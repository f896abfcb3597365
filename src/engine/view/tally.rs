//! One question to several sets: those that a user holds at a scope, above it, and everywhere.

use super::flags::FlagAsk;
use super::pairs::Table;
use super::selection::SCOPED;
use super::sets::{Ask, Vote};
use super::step::{Step, step};
use super::sync::Ordering;
use super::write::Writer;
use super::{STOPPED_VERSION, View, ViewTime};
use crate::id::ScopeId;
use crate::permission::{Permission, PermissionSet};
use crate::scope::MAX_DEPTH;

/// Whose sets are asked: what the user holds at scopes is looked up by number, what is held everywhere is at hand.
#[derive(Clone, Copy)]
pub(super) struct Who {
    pub(super) user: u32,
    pub(super) root: u32,
    pub(super) selection: u32,
}

impl View {
    /// The answer of a user who holds this set at the global scope; none if some set was not worked out, or if
    /// anything moved. Whether the user still holds the set is for the caller to check afterwards. Of a session that
    /// selected roles, the set is what the selection left; which it was is asked only where other sets are needed.
    #[inline(always)]
    pub(super) fn holds(
        &self,
        user: u32,
        set: u32,
        selection: impl FnOnce() -> u32,
        ask: &Ask<'_>,
        version: u64,
        now: ViewTime,
    ) -> Option<bool> {
        if !matches!(ask, Ask::At(..) | Ask::AllAt(..) | Ask::Flag(..)) {
            return self.sets.holds(set, ask, version, now);
        }
        // No set has this version, but here it may be that no set is asked.
        if version == STOPPED_VERSION {
            return None;
        }
        if let Ask::Flag(ask) = ask {
            let selection = if ask.scope == ScopeId::ROOT { 0 } else { selection() };
            return self.flag_holds(Who { user, root: set, selection }, ask, version, now);
        }
        step(Step::CellRead);
        let turn = self.counters.turn.read()?;
        let who = Who { user, root: set, selection: selection() };
        let held = match ask {
            Ask::At(permission, scope) => self.tally(who, *permission, *scope, version, now)?,
            // Not even nothing at all may be done at a scope that is not there.
            Ask::AllAt(_, scope) if !self.is_there(*scope) => false,
            Ask::AllAt(wanted, scope) => {
                // By value: a closure that borrows from the question keeps all of it in memory, with its kind.
                let (wanted, scope): (&PermissionSet, ScopeId) = (wanted, *scope);
                let mut held = wanted.iter().map(|one| self.tally(who, one, scope, version, now));
                held.try_fold(true, |all, one| Some(all && one?))?
            }
            Ask::Held | Ask::One(_) | Ask::All(_) | Ask::Flag(..) => false,
        };
        // Every vote is of that policy version. It was read before the turn: tree and policy are of one moment if the
        // policy is still the same.
        (self.counters.turn.still(turn) && self.counters.version.load(Ordering::Relaxed) == version)
            .then_some(held)
    }

    /// The votes of all levels from the scope up: a denial on any of them decides.
    #[inline]
    fn tally(
        &self,
        who: Who,
        permission: Permission,
        scope: ScopeId,
        version: u64,
        now: ViewTime,
    ) -> Option<bool> {
        let (table, mut level, mut allowed) = (self.scoped.table(), scope.get(), false);
        let scoped = who.selection & SCOPED != 0;
        let mut inside = !scoped;
        step(Step::TreeRead);
        for _ in 0..=MAX_DEPTH {
            let set = match level {
                0 => who.root,
                _ => self.held_at(who, table, level)?,
            };
            // Set 0 is that of nothing, and has nothing to say.
            let vote = match set {
                0 => Vote::Silent,
                set => self.sets.vote(set, permission, scoped, version, now)?,
            };
            match vote {
                Vote::Deny => return Some(false),
                Vote::Allow => allowed = true,
                Vote::Silent => {}
            }
            step(Step::LevelRead);
            if level == 0 {
                return Some(allowed && inside);
            }
            inside = inside || self.reach.table().get(who.selection, level) != 0;
            // A scope that is not there, or lies in one that is not, has nobody who may do anything.
            let Some(parent) = self.scoped.parent(level) else { return Some(false) };
            level = parent;
        }
        Some(false)
    }

    /// The set that counts at a scope below the global one, 0 for nothing; none if it was not derived yet.
    #[inline]
    pub(super) fn held_at(&self, who: Who, table: Table<'_>, level: u32) -> Option<u32> {
        match table.get(who.user, level) {
            0 => Some(0),
            set if who.selection == 0 => Some(set),
            set => Some(self.derived.table().get(set, who.selection)).filter(|set| *set != 0),
        }
    }

    /// Works out every set that the question needs; the root is what is held, and not yet what a selection left.
    pub(super) fn refresh(&self, writer: &mut Writer, who: Who, ask: &Ask<'_>, version: u64, now: ViewTime) {
        let Who { user, root, selection } = who;
        let set = self.derive(writer, root, selection);
        writer.refresh(&self.sets, set, version, now);
        let (Ask::At(_, scope) | Ask::AllAt(_, scope) | Ask::Flag(FlagAsk { scope, .. })) = ask else {
            return;
        };
        let (table, mut level) = (self.scoped.table(), scope.get());
        for _ in 0..MAX_DEPTH {
            if level == 0 {
                return;
            }
            match table.get(user, level) {
                0 => {}
                set => {
                    let set = self.derive(writer, set, selection);
                    writer.refresh(&self.sets, set, version, now);
                }
            }
            if let Ask::Flag(..) = ask {
                writer.refresh(&self.sets, self.flags.everybody(level), version, now);
            }
            level = self.scoped.parent(level).unwrap_or(0);
        }
    }

    fn is_there(&self, scope: ScopeId) -> bool {
        let mut level = scope.get();
        for _ in 0..=MAX_DEPTH {
            match (level, self.scoped.parent(level)) {
                (0, _) => return true,
                (_, Some(parent)) => level = parent,
                (_, None) => return false,
            }
        }
        false
    }
}
