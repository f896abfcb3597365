//! Sessions with a selection of roles: what of each set the active roles leave.
//!
//! A selection is a list of roles, interned, with a number; 0 is that of all roles. What a user holds at one place is a
//! set; the set that a selection leaves of it is derived at the first question and stands in a table under both
//! numbers. It holds what the active roles give; denials hold whichever roles are active.

use super::View;
use super::lines::LAST_SELECTION;
use super::pairs::PairBooks;
use super::write::Writer;
use crate::error::{Error, Result};
use crate::id::{RoleId, SessionId};
use std::collections::HashMap;
use std::sync::Arc;

const TOO_MANY: &str =
    "the live sessions have 1,048,575 different selections of roles, which are as many as there can be";

#[derive(Debug)]
struct Selected {
    roles: Arc<[RoleId]>,
    sessions: u32,
    /// The sets that something was derived from for it.
    sets: Vec<u32>,
}

/// The writer's side: what a selection stands for, how many sessions have it, and what was derived.
// INVARIANT: `numbers` has exactly the selections with sessions. `derived` says the same as the readers' table, and a
// derived set has one holder: its place there.
#[derive(Debug, Default)]
pub(super) struct Selections {
    list: Vec<Selected>,
    numbers: HashMap<Arc<[RoleId]>, u32>,
    free: Vec<u32>,
    /// By set: selections and what they leave of it.
    derived: HashMap<u32, Vec<(u32, u32)>>,
    books: PairBooks,
}

impl Selections {
    /// The roles of a selection; none for number 0, which has them all.
    pub(super) fn roles(&self, number: u32) -> Option<&Arc<[RoleId]>> {
        self.list.get(number.checked_sub(1)? as usize).map(|selected| &selected.roles)
    }

    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.list.iter().map(|one| 4 * (one.roles.len() + one.sets.capacity())).sum();
        let derived: usize = self.derived.values().map(|list| 8 * list.capacity()).sum();
        lists + derived + self.list.capacity() * size_of::<Selected>() + self.derived.capacity() * 32
    }

    /// The number of a selection (in rising order, each once), with one more session.
    pub(super) fn select(&mut self, roles: &[RoleId]) -> Result<u32> {
        if let Some(&number) = self.numbers.get(roles) {
            if let Some(selected) = self.list.get_mut(number as usize - 1) {
                selected.sessions += 1;
            }
            return Ok(number);
        }
        let selected = Selected { roles: roles.into(), sessions: 1, sets: Vec::new() };
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.list.len() + 1)
                .ok()
                .filter(|number| *number <= LAST_SELECTION)
                .ok_or_else(|| Error::limit("session.roles", TOO_MANY))?,
        };
        self.numbers.insert(selected.roles.clone(), number);
        match self.list.get_mut(number as usize - 1) {
            Some(place) => *place = selected,
            None => self.list.push(selected),
        }
        Ok(number)
    }

    /// Takes one session away. Returns the sets that something was derived from, where it was the last one.
    fn unselect(&mut self, number: u32) -> Option<Vec<u32>> {
        let selected = self.list.get_mut(number.checked_sub(1)? as usize)?;
        selected.sessions = selected.sessions.saturating_sub(1);
        if selected.sessions > 0 {
            return None;
        }
        self.numbers.remove(&selected.roles);
        selected.roles = Arc::new([]);
        self.free.push(number);
        Some(std::mem::take(&mut selected.sets))
    }
}

impl View {
    /// One session less has the selection. What was derived for it is given back with its last session.
    ///
    /// The caller has already published that the session is gone, or ended the epoch after it got another selection.
    pub(super) fn unselect(&self, writer: &mut Writer, selection: u32) {
        for set in writer.selections.unselect(selection).unwrap_or_default() {
            let Some(list) = writer.selections.derived.get_mut(&set) else { continue };
            let place = list.iter().position(|(other, _)| *other == selection);
            let Some((_, derived)) = place.map(|place| list.swap_remove(place)) else { continue };
            if list.is_empty() {
                writer.selections.derived.remove(&set);
            }
            self.give_back(writer, set, selection, derived);
        }
    }

    /// Takes a holder of a set away, and with the last one what was derived from it.
    ///
    /// As for `Interner::release`, the caller has already published that the holder has another set.
    pub(super) fn release(&self, writer: &mut Writer, set: u32) {
        if !writer.interner.release(set) {
            return;
        }
        for (selection, derived) in writer.selections.derived.remove(&set).unwrap_or_default() {
            if let Some(selected) = writer.selections.list.get_mut(selection as usize - 1) {
                selected.sets.retain(|other| *other != set);
            }
            self.give_back(writer, set, selection, derived);
        }
    }

    fn give_back(&self, writer: &mut Writer, set: u32, selection: u32, derived: u32) {
        let books = &mut writer.selections.books;
        // Nothing grows when something is taken out, so that this does not fail; if it did, the set would stay.
        let taken = self.counters.turn.change(|| self.derived.put(books, set, selection, 0));
        if taken.is_ok() {
            writer.interner.release(derived);
        }
    }

    /// What the selection leaves of the set, derived now if it was not before; 0 where there is no room for it.
    pub(super) fn derive(&self, writer: &mut Writer, set: u32, selection: u32) -> u32 {
        if selection == 0 {
            return set;
        }
        match self.derived.table().get(set, selection) {
            0 => self.derive_new(writer, set, selection).unwrap_or(0),
            found => found,
        }
    }

    fn derive_new(&self, writer: &mut Writer, set: u32, selection: u32) -> Result<u32> {
        let Writer { interner, selections, .. } = writer;
        let derived = interner.hold_derived(&self.sets, set, selection)?;
        let books = &mut selections.books;
        let put = self.counters.turn.change(|| self.derived.put(books, set, selection, derived));
        if let Err(error) = put {
            interner.release(derived);
            return Err(error);
        }
        selections.derived.entry(set).or_default().push((selection, derived));
        if let Some(selected) = selections.list.get_mut(selection as usize - 1) {
            selected.sets.push(set);
        }
        Ok(derived)
    }

    /// The roles that a session has active; none named is all.
    pub(crate) fn selected_roles(&self, session: SessionId) -> Option<Vec<RoleId>> {
        let writer = self.writer.lock();
        let selection = self.lines.probe(session.get())?.aside().selection();
        writer.selections.roles(selection).map(|roles| roles.to_vec())
    }
}
