//! One question to several sets: those that a user holds at a scope, above it, and everywhere.

use super::flags::FlagAsk;
use super::sets::{Ask, Vote};
use super::step::{Step, step};
use super::write::Writer;
use super::{STOPPED_VERSION, View, ViewTime};
use crate::id::ScopeId;
use crate::permission::{Permission, PermissionSet};
use crate::scope::MAX_DEPTH;
use std::sync::atomic::Ordering;

impl View {
    /// The answer of a user who holds this set at the global scope; none if some set was not worked out, or if
    /// anything moved. Whether the user still holds the set is for the caller to check afterwards.
    #[inline(always)]
    pub(super) fn holds(
        &self,
        user: u32,
        set: u32,
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
            return self.flag_holds(user, set, *ask, version, now);
        }
        step(Step::CellRead);
        let turn = self.counters.turn.read()?;
        let held = match ask {
            Ask::At(permission, scope) => self.tally(user, set, *permission, *scope, version, now)?,
            // Not even nothing at all may be done at a scope that is not there.
            Ask::AllAt(_, scope) if !self.is_there(*scope) => false,
            Ask::AllAt(wanted, scope) => {
                // By value: a closure that borrows from the question keeps all of it in memory, with its kind.
                let (wanted, scope): (&PermissionSet, ScopeId) = (wanted, *scope);
                let mut held = wanted.iter().map(|one| self.tally(user, set, one, scope, version, now));
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
        user: u32,
        root: u32,
        permission: Permission,
        scope: ScopeId,
        version: u64,
        now: ViewTime,
    ) -> Option<bool> {
        let (table, mut level, mut allowed) = (self.scoped.table(), scope.get(), false);
        step(Step::TreeRead);
        for _ in 0..=MAX_DEPTH {
            let set = match level {
                0 => root,
                _ => table.get(user, level),
            };
            // Set 0 is that of nothing, and has nothing to say.
            match if set == 0 { Vote::Silent } else { self.sets.vote(set, permission, version, now)? } {
                Vote::Deny => return Some(false),
                Vote::Allow => allowed = true,
                Vote::Silent => {}
            }
            step(Step::LevelRead);
            if level == 0 {
                return Some(allowed);
            }
            // A scope that is not there, or lies in one that is not, has nobody who may do anything.
            let Some(parent) = self.scoped.parent(level) else { return Some(false) };
            level = parent;
        }
        Some(false)
    }

    /// Works out every set that the question needs.
    pub(super) fn refresh(
        &self,
        writer: &mut Writer,
        user: u32,
        set: u32,
        ask: &Ask<'_>,
        version: u64,
        now: ViewTime,
    ) {
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
                set => writer.refresh(&self.sets, set, version, now),
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
