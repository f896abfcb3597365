//! What changes the view. Every method is idempotent, and any order of the same changes leaves the same state.

use super::lines::{DIRTY, SessionLine};
use super::notes::Note;
use super::pages::Pages;
use super::part::{Holding, Part};
use super::policy::Policy;
use super::scoped::{Books, Scoped};
use super::selection::{Choice, Selections};
use super::sets::{Interner, Sets};
use super::sync::Ordering;
use super::time::ViewTime;
use super::users::{UserCell, UserState};
use super::{STOPPED_EPOCH, STOPPED_VERSION, View};
use crate::error::{Error, Result};
use crate::id::{RoleId, ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};

/// What is the writer's alone.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) policy: Policy,
    pub(super) interner: Interner,
    pub(super) selections: Selections,
    pages: Pages,
    books: Books,
    users: u64,
    /// How many of the lines are keys'.
    pub(super) keys: u64,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            policy: Policy::default(),
            interner: Interner::new(),
            selections: Selections::default(),
            pages: Pages::new(),
            books: Books::default(),
            users: 0,
            keys: 0,
        }
    }

    pub(super) fn parts(&self, set: u32) -> &[Part] {
        self.interner.parts(set)
    }

    pub(super) fn refresh(&mut self, sets: &Sets, set: u32, version: u64, now: ViewTime) {
        let choice = self.selections.choice(self.interner.selection(set)).cloned();
        self.interner.refresh(sets, &mut self.policy, set, choice.as_deref(), version, now);
    }
}

/// How much is in the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) users: u64,
    pub(crate) sessions: u64,
    pub(crate) keys: u64,
    pub(crate) roles: u64,
    /// Distinct sets of roles that users hold.
    pub(crate) sets: u64,
    pub(crate) scopes: u64,
    /// Bytes of memory by part.
    pub(crate) user_bytes: usize,
    pub(crate) set_bytes: usize,
    pub(crate) session_bytes: usize,
    pub(crate) policy_bytes: usize,
    pub(crate) scope_bytes: usize,
}

impl View {
    /// Puts a user's state and session generation; the roles stay.
    pub(crate) fn put_user(&self, user: UserId, state: UserState, generation: u32) -> Result<()> {
        let mut writer = self.writer.lock();
        let cell = self.users.grow_to(number(user)?)?;
        self.put_state(&mut writer, cell, Some(state), generation);
        Ok(())
    }

    /// Takes a user away; what was assigned stays until it is taken away itself.
    pub(crate) fn remove_user(&self, user: UserId) {
        let mut writer = self.writer.lock();
        if let Some(cell) = self.cell(user) {
            self.put_state(&mut writer, cell, None, 0);
        }
    }

    /// Gives a user a role or a permission at a scope, whether or not any of them is there yet.
    pub(crate) fn assign(&self, user: UserId, scope: ScopeId, part: Part) -> Result<()> {
        self.change_parts(user, scope, |parts| {
            match parts.binary_search_by_key(&part.holding, |part| part.holding) {
                Ok(place) => match parts.get_mut(place) {
                    Some(old) if *old != part => *old = part,
                    _ => return false,
                },
                Err(place) => parts.insert(place, part),
            }
            true
        })
    }

    /// Takes a role or a permission from a user at a scope.
    pub(crate) fn unassign(&self, user: UserId, scope: ScopeId, holding: Holding) -> Result<()> {
        self.change_parts(user, scope, |parts| {
            let place = parts.binary_search_by_key(&holding, |part| part.holding);
            place.map(|place| parts.remove(place)).is_ok()
        })
    }

    /// Changes what a user holds at a scope; the change says whether there is one.
    fn change_parts(
        &self,
        user: UserId,
        scope: ScopeId,
        change: impl FnOnce(&mut Vec<Part>) -> bool,
    ) -> Result<()> {
        let (mut writer, number) = (self.writer.lock(), number(user)?);
        if scope == ScopeId::ROOT {
            let cell = self.users.grow_to(number)?;
            let mut parts = writer.interner.parts(cell.current().2).to_vec();
            return if change(&mut parts) { self.put_parts(&mut writer, cell, &parts) } else { Ok(()) };
        }
        let former = self.scoped.table().get(number, scope.get());
        let mut parts = writer.interner.parts(former).to_vec();
        if !change(&mut parts) {
            return Ok(());
        }
        let set = if parts.is_empty() { 0 } else { writer.interner.hold(&self.sets, &parts)? };
        let books = &mut writer.books;
        self.counters.turn.change(|| self.scoped.put(books, number, scope.get(), set))?;
        // INVARIANT: after the turn, so that no reader takes the number's next parts for this user's.
        if former != 0 {
            self.release(&mut writer, former);
        }
        Ok(())
    }

    /// Puts a scope into another one, wherever it was.
    pub(crate) fn put_scope(&self, scope: ScopeId, parent: ScopeId) -> Result<()> {
        let mut writer = self.writer.lock();
        self.counters.turn.change(|| self.scoped.put_place(&mut writer.books, scope, parent))
    }

    /// Takes a scope away, and with it all that lies in it.
    pub(crate) fn remove_scope(&self, scope: ScopeId) {
        let mut writer = self.writer.lock();
        self.counters.turn.change(|| self.scoped.remove_place(&mut writer.books, scope));
    }

    /// Puts a role and its parents, all of whose permissions it has too.
    pub(crate) fn put_role(&self, role: RoleId, parents: &[RoleId]) -> Result<()> {
        let mut writer = self.writer.lock();
        let done = writer.policy.put_role(role, parents);
        self.end_version();
        done
    }

    /// Takes a role away, for all who hold it or inherit from it.
    pub(crate) fn remove_role(&self, role: RoleId) {
        let mut writer = self.writer.lock();
        writer.policy.remove_role(role);
        self.end_version();
    }

    /// Puts what the role itself grants, or denies, from `chunk * 8192` on, up to 128 words of 64.
    pub(crate) fn put_chunk(&self, role: RoleId, chunk: u32, words: &[u64], denies: bool) -> Result<()> {
        let mut writer = self.writer.lock();
        let done = writer.policy.put_chunk(role, chunk, words, denies);
        self.end_version();
        done
    }

    /// Makes a permission count.
    pub(crate) fn define(&self, permission: Permission) -> Result<()> {
        let mut writer = self.writer.lock();
        let done = writer.policy.define(permission, true);
        self.end_version();
        done
    }

    /// Makes a permission count for nobody, whoever has it.
    pub(crate) fn undefine(&self, permission: Permission) -> Result<()> {
        let mut writer = self.writer.lock();
        let done = writer.policy.define(permission, false);
        self.end_version();
        done
    }

    /// Inserts a session or brings it up to date. Only the named roles are active in it; none named is all.
    pub(crate) fn put_session(&self, session: &SessionLine, roles: Option<&[RoleId]>) -> Result<()> {
        self.put_line(session, roles.map(|roles| Choice::Roles(roles.into()))).map(drop)
    }

    /// Inserts a session or a key or brings it up to date. It uses what is chosen; nothing chosen is everything.
    /// True if it was not there.
    pub(super) fn put_line(&self, session: &SessionLine, choice: Option<Choice>) -> Result<bool> {
        let mut writer = self.writer.lock();
        let former = self.lines.probe(session.id.get()).map(|spot| spot.aside().selection());
        let selection = choice.map_or(Ok(0), |choice| self.select(&mut writer, choice))?;
        let done = writer.pages.put(&self.lines, &SessionLine { selection, ..*session });
        match former {
            _ if done.is_err() => self.unselect(&mut writer, selection),
            Some(former) => {
                if former != selection {
                    self.next_epoch(&mut writer);
                }
                // INVARIANT: after the epoch, so that no reader takes what was left by the former one for this one's.
                self.unselect(&mut writer, former);
            }
            None => {}
        }
        done.map(|()| former.is_none())
    }

    /// Puts the note of a session whose line is to say that there is one.
    // INVARIANT: a note is there before the line says so, and goes after the line: whoever misses it finds the session ended.
    pub(crate) fn put_note(&self, session: SessionId, note: Note) {
        self.notes.put(session.get(), note);
    }

    /// Takes a session away; true if it was there.
    pub(crate) fn remove_session(&self, session: SessionId) -> bool {
        let mut writer = self.writer.lock();
        let selection = self.lines.probe(session.get()).map_or(0, |spot| spot.aside().selection());
        let removed = writer.pages.remove(&self.lines, session.get());
        if removed {
            self.notes.remove(session.get());
            self.unselect(&mut writer, selection);
        }
        removed
    }

    /// The present era of sessions.
    pub(crate) fn era(&self) -> u16 {
        self.counters.era.load(Ordering::Acquire)
    }

    /// Ends every session of an earlier era.
    pub(crate) fn put_era(&self, era: u16) {
        let mut writer = self.writer.lock();
        if self.counters.era.swap(era, Ordering::AcqRel) != era {
            self.next_epoch(&mut writer);
        }
    }

    /// Refuses everything from the moment this returns, for good.
    pub(crate) fn stop(&self) {
        let _writer = self.writer.lock();
        self.counters.version.store(STOPPED_VERSION, Ordering::Release);
        self.counters.epoch.store(STOPPED_EPOCH, Ordering::Release);
    }

    /// Why the view was stopped, for the error that every call then answers.
    pub(crate) fn why_stopped(&self) -> &str {
        self.why_stopped.get().map_or("no reason was given", String::as_str)
    }

    /// Up to `limit` sessions among the next `span` pages that were seen since they were last taken, and when; and whether
    /// that was the last page. Put one back with [`note_seen`](Self::note_seen) if it could not be written down.
    pub(crate) fn take_seen_among(&self, limit: usize, span: u32) -> (Vec<(SessionId, ViewTime)>, bool) {
        let (mut taken, mut writer) = (Vec::new(), self.writer.lock());
        let is_last = writer.pages.take_seen(&self.lines, limit, span, &mut taken);
        (taken, is_last)
    }

    /// The same among all pages, from where the last call left off.
    #[cfg(test)]
    pub(crate) fn take_seen(&self, limit: usize) -> Vec<(SessionId, ViewTime)> {
        let mut taken = Vec::new();
        for _ in 0..=self.pages() + 1 {
            taken.extend(self.take_seen_among(limit - taken.len(), 1).0);
            if taken.len() >= limit {
                break;
            }
        }
        taken
    }

    /// How many pages of sessions there are.
    pub(super) fn pages(&self) -> u32 {
        self.writer.lock().pages.count()
    }

    /// Makes [`take_seen_among`](Self::take_seen_among) give the session again.
    pub(crate) fn note_seen(&self, session: SessionId) {
        let _writer = self.writer.lock();
        if let Some(spot) = self.lines.probe(session.get()) {
            spot.line.seen.fetch_or(DIRTY, Ordering::AcqRel);
        }
    }

    /// The session as the view has it.
    pub(crate) fn session(&self, session: SessionId) -> Option<SessionLine> {
        let _writer = self.writer.lock();
        self.lines.probe(session.get())?.read(session.get())
    }

    /// A user's state and session generation; none if there is no such user.
    pub(crate) fn user(&self, user: UserId) -> Option<(UserState, u32)> {
        let _writer = self.writer.lock();
        let (state, generation, _) = self.cell(user)?.current();
        Some((state?, generation))
    }

    /// What a user holds at a scope, in rising order.
    pub(crate) fn parts_of(&self, user: UserId, scope: ScopeId) -> Vec<Part> {
        let writer = self.writer.lock();
        writer.interner.parts(self.set_of(user, scope)).to_vec()
    }

    /// What a user's roles and grants at the global scope come to, whatever the user's state.
    pub(crate) fn permissions_of_user(&self, user: UserId, now: ViewTime) -> PermissionSet {
        let mut writer = self.writer.lock();
        let Writer { policy, interner, .. } = &mut *writer;
        policy.effective(interner.parts(self.set_of(user, ScopeId::ROOT)), None, now)
    }

    pub(super) fn set_of(&self, user: UserId, scope: ScopeId) -> u32 {
        let Ok(number) = number(user) else { return 0 };
        match scope {
            ScopeId::ROOT => self.cell(user).map_or(0, |cell| cell.current().2),
            _ => self.scoped.table().get(number, scope.get()),
        }
    }

    /// What a role gives, and what it denies, by itself and through the roles it inherits from.
    pub(crate) fn permissions_of_role(&self, role: RoleId) -> [PermissionSet; 2] {
        self.writer.lock().policy.of_role(role)
    }

    /// All roles that this one inherits from.
    pub(crate) fn juniors(&self, role: RoleId) -> Vec<RoleId> {
        self.writer.lock().policy.juniors(role)
    }

    /// All roles that inherit from this one.
    pub(crate) fn seniors(&self, role: RoleId) -> Vec<RoleId> {
        self.writer.lock().policy.seniors(role)
    }

    pub(crate) fn stats(&self) -> Stats {
        let writer = self.writer.lock();
        Stats {
            users: writer.users,
            sessions: writer.pages.len().saturating_sub(writer.keys),
            keys: writer.keys,
            roles: writer.policy.len() as u64,
            sets: writer.interner.len() as u64,
            scopes: Scoped::count(&writer.books),
            user_bytes: self.users.bytes(),
            set_bytes: self.sets.bytes(&writer.interner)
                + writer.interner.bytes()
                + self.derived.bytes()
                + self.reach.bytes()
                + writer.selections.bytes(),
            session_bytes: writer.pages.bytes(&self.lines),
            policy_bytes: writer.policy.bytes(),
            scope_bytes: self.scoped.bytes(),
        }
    }

    fn put_state(&self, writer: &mut Writer, cell: &UserCell, state: Option<UserState>, generation: u32) {
        let (former, former_generation, _) = cell.current();
        if (former, former_generation) == (state, generation) {
            return;
        }
        cell.put_state(state, generation);
        writer.users = writer.users + u64::from(state.is_some()) - u64::from(former.is_some());
        self.end_epoch(writer, former);
    }

    fn put_parts(&self, writer: &mut Writer, cell: &UserCell, parts: &[Part]) -> Result<()> {
        let (state, _, former) = cell.current();
        let set = writer.interner.hold(&self.sets, parts)?;
        cell.put_set(set);
        self.end_epoch(writer, state);
        // INVARIANT: after the cell and the epoch, so that no reader takes the number's next parts for this user's.
        self.release(writer, former);
        Ok(())
    }

    /// Makes every session line ask its user's cell again, after the cell was changed.
    ///
    /// Lines remember active users only, so that the change of any other leaves nothing to forget: creating users does
    /// not slow the sessions of those who are there.
    fn end_epoch(&self, writer: &mut Writer, former: Option<UserState>) {
        if former == Some(UserState::Active) {
            self.next_epoch(writer);
        }
    }

    fn next_epoch(&self, writer: &mut Writer) {
        let epoch = self.counters.epoch.load(Ordering::Relaxed);
        if epoch == STOPPED_EPOCH {
            return;
        }
        let next = epoch + 1;
        // Numbers come round: at the start and in the middle of each round, lines forget the epochs they remember, so
        // that none lives to see its number again. A reader would have to sleep through two billion commits.
        if next == STOPPED_EPOCH || next == STOPPED_EPOCH / 2 {
            writer.pages.forget_grants(&self.lines);
        }
        let next = if next == STOPPED_EPOCH { 1 } else { next };
        self.counters.epoch.store(next, Ordering::Release);
    }

    /// Makes every set be worked out again when it is next asked, after the policy was changed.
    pub(super) fn end_version(&self) {
        let version = self.counters.version.load(Ordering::Relaxed);
        if version != STOPPED_VERSION {
            self.counters.version.store(version + 1, Ordering::Release);
        }
    }
}

fn number(user: UserId) -> Result<u32> {
    u32::try_from(user.get()).map_err(|_| Error::limit("user", format!("{user} is beyond the last one")))
}
