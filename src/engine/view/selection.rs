//! Sessions with a selection of roles, and API keys with limits: what they leave of each set.
//!
//! A selection is a [`Choice`], interned, with a number; 0 is that of everything. What a user holds at one place is a
//! set; the set that a selection leaves of it is derived at the first question and stands in a table under both
//! numbers. It holds what the active roles give, or the permissions that the key may use; denials hold in any case.
//!
//! A selection for some scopes only has a number with a mark, and its scopes stand in a table of their own. The sets that
//! are derived for it keep what they allow where no question finds it that does not ask at a scope: see `Sets::inner`.

use super::View;
use super::lines::LAST_SELECTION;
use super::pairs::PairBooks;
use super::write::Writer;
use crate::error::{Error, Result};
use crate::id::{RoleId, ScopeId, SessionId};
use crate::permission::PermissionSet;
use std::collections::HashMap;
use std::sync::Arc;

const TOO_MANY: &str = "the live sessions and API keys have 524,287 different selections and limits, which are as many as there can be";

/// In the number of a selection: it is for some scopes only.
pub(super) const SCOPED: u32 = (LAST_SELECTION + 1) >> 1;

/// What a session or a key uses of what its user holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    /// These roles, in rising order, each once, and no others.
    Roles(Arc<[RoleId]>),
    /// These permissions and no others, where some are named; and only at these scopes and below them, where some are.
    Limits { permissions: Option<PermissionSet>, scopes: Option<Arc<[ScopeId]>> },
}

impl Choice {
    /// The scopes outside of which nothing is allowed.
    pub(super) fn scopes(&self) -> Option<&[ScopeId]> {
        match self {
            Self::Limits { scopes, .. } => scopes.as_deref(),
            Self::Roles(_) => None,
        }
    }
}

#[derive(Debug)]
struct Selected {
    choice: Arc<Choice>,
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
    numbers: HashMap<Arc<Choice>, u32>,
    free: Vec<u32>,
    /// By set: selections and what they leave of it.
    derived: HashMap<u32, Vec<(u32, u32)>>,
    books: PairBooks,
    /// Of the table of scopes.
    reach_books: PairBooks,
}

/// The place of a selection in the list.
fn place(number: u32) -> Option<usize> {
    (number & !SCOPED).checked_sub(1).map(|place| place as usize)
}

impl Selections {
    /// What a selection is; none for number 0, which is everything.
    pub(super) fn choice(&self, number: u32) -> Option<&Arc<Choice>> {
        self.list.get(place(number)?).map(|selected| &selected.choice)
    }

    /// How many more there can be.
    fn left(&self) -> usize {
        (SCOPED as usize - 1).saturating_sub(self.list.len()) + self.free.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let of = |choice: &Choice| match choice {
            Choice::Roles(roles) => 4 * roles.len(),
            Choice::Limits { permissions, scopes } => {
                let words = permissions.as_ref().map_or(0, |set| set.words().len());
                8 * words + 4 * scopes.as_ref().map_or(0, |scopes| scopes.len())
            }
        };
        let lists: usize = self.list.iter().map(|one| of(&one.choice) + 4 * one.sets.capacity()).sum();
        let derived: usize = self.derived.values().map(|list| 8 * list.capacity()).sum();
        lists + derived + self.list.capacity() * size_of::<Selected>() + self.derived.capacity() * 32
    }

    /// The number of a selection, with one more session, and whether it is a new one.
    fn select(&mut self, choice: Choice) -> Result<(u32, bool)> {
        if let Some(&number) = self.numbers.get(&choice) {
            if let Some(selected) = place(number).and_then(|place| self.list.get_mut(place)) {
                selected.sessions += 1;
            }
            return Ok((number, false));
        }
        let scoped = if choice.scopes().is_some() { SCOPED } else { 0 };
        let selected = Selected { choice: Arc::new(choice), sessions: 1, sets: Vec::new() };
        let bare = match self.free.pop() {
            Some(bare) => bare,
            None => u32::try_from(self.list.len() + 1)
                .ok()
                .filter(|bare| *bare < SCOPED)
                .ok_or_else(|| Error::limit("session.roles", TOO_MANY))?,
        };
        self.numbers.insert(selected.choice.clone(), bare | scoped);
        match self.list.get_mut(bare as usize - 1) {
            Some(place) => *place = selected,
            None => self.list.push(selected),
        }
        Ok((bare | scoped, true))
    }

    /// Takes one session away. Returns what it was and the sets that something was derived from, where it was the last one.
    fn unselect(&mut self, number: u32) -> Option<(Arc<Choice>, Vec<u32>)> {
        let selected = self.list.get_mut(place(number)?)?;
        selected.sessions = selected.sessions.saturating_sub(1);
        if selected.sessions > 0 {
            return None;
        }
        let nothing = Arc::new(Choice::Roles(Arc::new([])));
        let choice = std::mem::replace(&mut selected.choice, nothing);
        self.numbers.remove(&choice);
        self.free.push(number & !SCOPED);
        Some((choice, std::mem::take(&mut selected.sets)))
    }
}

impl View {
    /// How many more different selections and limits there can be.
    pub(crate) fn selections_left(&self) -> usize {
        self.writer.lock().selections.left()
    }

    /// The number of a selection, with one more session. Its scopes stand in the table before anybody has the number.
    pub(super) fn select(&self, writer: &mut Writer, choice: Choice) -> Result<u32> {
        let scopes: Vec<ScopeId> = choice.scopes().unwrap_or_default().to_vec();
        let (number, fresh) = writer.selections.select(choice)?;
        if fresh && !scopes.is_empty() {
            let books = &mut writer.selections.reach_books;
            let put = self.counters.turn.change(|| {
                // The global scope is no limit: it stands in no table, and a key of such a row gets nothing.
                let mut below = scopes.iter().filter(|scope| **scope != ScopeId::ROOT);
                below.try_for_each(|scope| self.reach.put(books, number, scope.get(), 1).map(drop))
            });
            if let Err(error) = put {
                self.unselect(writer, number);
                return Err(error);
            }
        }
        Ok(number)
    }

    /// One session less has the selection. What was derived for it is given back with its last session.
    ///
    /// The caller has already published that the session is gone, or ended the epoch after it got another selection.
    pub(super) fn unselect(&self, writer: &mut Writer, selection: u32) {
        let Some((choice, sets)) = writer.selections.unselect(selection) else { return };
        if let Some(scopes) = choice.scopes() {
            let books = &mut writer.selections.reach_books;
            self.counters.turn.change(|| {
                for scope in scopes.iter().filter(|scope| **scope != ScopeId::ROOT) {
                    // Nothing grows when something is taken out, so that this does not fail.
                    let _ = self.reach.put(books, selection, scope.get(), 0);
                }
            });
        }
        for set in sets {
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
            if let Some(selected) = place(selection).and_then(|place| writer.selections.list.get_mut(place)) {
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
        if let Some(selected) = place(selection).and_then(|place| selections.list.get_mut(place)) {
            selected.sets.push(set);
        }
        Ok(derived)
    }

    /// The roles that a session has active; none named is all.
    pub(crate) fn selected_roles(&self, session: SessionId) -> Option<Vec<RoleId>> {
        match self.choice_of(session).as_deref() {
            Some(Choice::Roles(roles)) => Some(roles.to_vec()),
            _ => None,
        }
    }

    /// What a session or a key uses of what its user holds; none is everything.
    pub(crate) fn choice_of(&self, session: SessionId) -> Option<Arc<Choice>> {
        let writer = self.writer.lock();
        let selection = self.lines.probe(session.get())?.aside().selection();
        writer.selections.choice(selection).cloned()
    }
}
