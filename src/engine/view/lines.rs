//! Sessions, one cache line each, in an extendible hash table that readers search without a lock.
//!
//! A session's id is random: its top bits choose a page through the directory, its low bits the line in the page where
//! the search begins. The writer's side is in `pages`.

use super::segmented::Segmented;
use super::step::{Step, step};
use super::sync::{AtomicU32, AtomicU64, OnceLock, Ordering, fence, size};
use super::time::ViewTime;
use crate::error::Result;
use crate::id::{SessionId, UserId};

/// Lines in a page.
pub(super) const LINES: usize = size(64, 4);
/// The directory has up to 2^28 entries.
pub(super) const DEPTHS: usize = size(29, 4);
/// Ids that no session may have: they mark an empty line and one that was emptied in the middle of a run.
pub(super) const EMPTY: u64 = 0;
pub(super) const TOMBSTONE: u64 = 1;
/// The `deadline` of a line that is being moved: whoever reads it asks again under the lock. It is long past, so that
/// only a reader about to say "expired" has to look for it.
pub(super) const FROZEN: u32 = 0;
/// In `seen`: not written down yet. It stands in the line itself, so that being seen costs no second cache line;
/// instants end in the year 2092 for it.
pub(super) const DIRTY: u32 = 1 << 31;
/// Beside the idle timeout: there is a note on the session.
const NOTED: u32 = 1 << 31;

/// A session as the writer puts it and as a listing gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionLine {
    pub(crate) id: SessionId,
    pub(crate) digest: [u8; 32],
    pub(crate) user: UserId,
    /// The user's session generation at login.
    pub(crate) generation: u32,
    /// Which roles are active: 0 for all that the user has.
    pub(crate) selection: u32,
    /// The era of all sessions at login.
    pub(crate) era: u16,
    /// From this second on the session is dead.
    pub(crate) deadline: ViewTime,
    /// Dead this many seconds after it was last seen; 0 for never.
    pub(crate) idle_timeout: u32,
    pub(crate) seen: ViewTime,
    /// Whether there is a note on it: see `notes`.
    pub(crate) noted: bool,
}

/// Names a session and where its line was last seen, so that the next look needs no search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionHandle {
    pub(super) id: u64,
    pub(super) page: u32,
    pub(super) slot: u8,
}

impl SessionHandle {
    pub(crate) const fn id(self) -> SessionId {
        SessionId::from_number(self.id)
    }
}

/// What a session's line said at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) handle: SessionHandle,
    /// To be compared in constant time with that of the token before anything else is believed.
    pub(crate) digest: [u8; 32],
    pub(crate) user: UserId,
    pub(crate) deadline: ViewTime,
    pub(crate) idle_timeout: u32,
    pub(crate) seen: ViewTime,
    pub(crate) noted: bool,
}

/// A session in the table. All fields are written by the writer, but `seen` and `grant` also by readers.
///
/// INVARIANT: the other words belong to `id` whenever it reads the same before and after them: the writer stores a
/// mark in `id`, then the words, then the new id.
///
/// What a reader writes may come late, when the line is another session's; it must do no harm there:
/// - `grant` is swapped for what the reader had read, and the swap can only hit the line of that session. The writer
///   starts each line with a word of its own (`nonce | epoch 0`). If the reader's old word is such a one, no later
///   tenant of the line has it. If it is `set | epoch`, that epoch was over when the reader began, and the reader found
///   its session in the line after that: a later tenant was placed after the epoch's end, so that nobody can have given
///   its line that epoch.
/// - `seen` is simply stored: a swap would have to wait until the line has come from memory, at a million sessions a
///   third of an authentication. Nothing else is in the word, and a reader stores a time that is past, so that a late
///   store can make a tenant's idle limit run out early, never late; the tenant's next use mends it. A line that is
///   moved is first `FROZEN`; a reader looks for that after its store, and the writer looks for a later time once more
///   after the move, so that a use is lost only if the store is still on its way when both have looked. The idle limit
///   then runs from the use before.
///
/// That one session leaves a line and comes back to it while a reader is between its two loads of `id` would take two
/// rounds through the list of free pages; its digest and user would still be its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) id: AtomicU64,
    pub(super) digest: [AtomicU64; 4],
    /// `DIRTY (1) | time of last use (31)`.
    pub(super) seen: AtomicU32,
    pub(super) deadline: AtomicU32,
    /// `set number (32) | epoch (32)`: the user was let in with this set when the epoch began; or `nonce | 0`.
    pub(super) grant: AtomicU64,
    /// `user (32) | noted (1) | idle timeout (31)`.
    pub(super) who: AtomicU64,
}

/// What a check needs of a line; good if [`Line::still`] holds afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    seen: u32,
    deadline: u32,
    grant: u64,
    who: u64,
}

impl Facts {
    #[inline]
    pub(super) const fn live(self, now: ViewTime) -> bool {
        let idle = self.idle_timeout();
        now.secs() < self.deadline
            && (idle == 0 || (now.secs() as u64) < self.seen().secs() as u64 + idle as u64)
    }

    #[inline]
    pub(super) const fn epoch(self) -> u32 {
        self.grant as u32
    }

    #[inline]
    pub(super) const fn set(self) -> u32 {
        (self.grant >> 32) as u32
    }

    pub(super) const fn seen(self) -> ViewTime {
        time_of(self.seen)
    }

    pub(super) const fn frozen(self) -> bool {
        self.deadline == FROZEN
    }

    pub(super) const fn user(self) -> u32 {
        (self.who >> 32) as u32
    }

    const fn idle_timeout(self) -> u32 {
        self.who as u32 & !NOTED
    }

    const fn noted(self) -> bool {
        self.who as u32 & NOTED != 0
    }
}

/// A session's generation, selection and era, in one word: `generation (28) | selection (20) | era (16)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside(u64);

/// The highest generation that fits: no user comes to it, so that a session that has it is never of an older one.
pub(super) const LAST_GENERATION: u32 = (1 << 28) - 1;
/// The highest number of a selection.
pub(super) const LAST_SELECTION: u32 = (1 << 20) - 1;

impl Aside {
    fn of(session: &SessionLine) -> Self {
        let generation = u64::from(session.generation.min(LAST_GENERATION));
        let selection = u64::from(session.selection.min(LAST_SELECTION));
        Self(generation << 36 | selection << 16 | u64::from(session.era))
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> 36) as u32
    }

    pub(super) const fn selection(self) -> u32 {
        (self.0 >> 16) as u32 & LAST_SELECTION
    }

    pub(super) const fn era(self) -> u16 {
        self.0 as u16
    }
}

/// The time in a word of last use.
pub(super) const fn time_of(seen: u32) -> ViewTime {
    ViewTime::from_secs(seen & !DIRTY)
}

/// Whose the session is, and how it goes idle.
pub(super) const fn who_word(user: u32, session: &SessionLine) -> u64 {
    pair(user, session.idle_timeout & !NOTED | if session.noted { NOTED } else { 0 })
}

/// A time as a word of last use, without the mark.
pub(super) const fn seen_word(seen: ViewTime) -> u32 {
    seen.secs() & !DIRTY
}

pub(super) const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

impl Line {
    /// The facts, if the line is that session's; to be followed by [`still`](Self::still).
    #[inline]
    pub(super) fn facts(&self, id: u64) -> Option<Facts> {
        if self.id.load(Ordering::Acquire) != id {
            return None;
        }
        step(Step::IdRead);
        Some(Facts {
            seen: self.seen.load(Ordering::Relaxed),
            deadline: self.deadline.load(Ordering::Relaxed),
            grant: self.grant.load(Ordering::Acquire),
            who: self.who.load(Ordering::Relaxed),
        })
    }

    /// True if the line was that session's all the time since it was read.
    #[inline]
    pub(super) fn still(&self, id: u64) -> bool {
        fence(Ordering::Acquire);
        self.id.load(Ordering::Relaxed) == id
    }

    /// Takes over a time of last use if it is later; a mark is taken over in any case.
    pub(super) fn merge_seen(&self, other: u32) {
        let _ = self.seen.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |own| {
            Some((own | other) & DIRTY | seen_word(time_of(own).max(time_of(other))))
        });
    }

    /// Remembers the user's set as of an epoch, unless somebody was faster.
    ///
    /// Releasing, as the load of it acquires: whoever finds the number here must not see less of the set than the
    /// reader that found it in the user's cell. The epoch does not give that: the cell may be newer than it.
    pub(super) fn remember(&self, facts: Facts, set: u32, epoch: u32) {
        let new = pair(set, epoch);
        let _ = self.grant.compare_exchange(facts.grant, new, Ordering::Release, Ordering::Relaxed);
    }
}

#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Page {
    pub(super) lines: [Line; LINES],
    /// What [`Aside`] has of each line.
    pub(super) aside: [AtomicU64; LINES],
}

impl Default for Page {
    fn default() -> Self {
        Self {
            lines: std::array::from_fn(|_| Line::default()),
            aside: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// A line and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) page: &'a Page,
    pub(super) line: &'a Line,
    pub(super) number: u32,
    pub(super) slot: u8,
}

impl Spot<'_> {
    /// What is asked only when the line does not know its user's set: the session's generation, selection and era.
    pub(super) fn aside(&self) -> Aside {
        Aside(self.aside_word().load(Ordering::Relaxed))
    }

    pub(super) fn put_aside(&self, session: &SessionLine) {
        self.aside_word().store(Aside::of(session).0, Ordering::Relaxed);
    }

    fn aside_word(&self) -> &AtomicU64 {
        // The slot is below 64 by construction; falling back costs no branch that matters.
        self.page.aside.get(usize::from(self.slot) % LINES).unwrap_or(&self.page.aside[0])
    }

    pub(super) fn user(&self) -> u32 {
        (self.line.who.load(Ordering::Relaxed) >> 32) as u32
    }

    /// The whole session, if the line is that session's and not on the move; for the writer, for whom alone the
    /// generation belongs to the rest for certain.
    pub(super) fn read(&self, id: u64) -> Option<SessionLine> {
        let snapshot = self.snapshot(id)?;
        Some(SessionLine {
            id: SessionId::from_number(id),
            digest: snapshot.digest,
            user: snapshot.user,
            generation: self.aside().generation(),
            selection: self.aside().selection(),
            era: self.aside().era(),
            deadline: snapshot.deadline,
            idle_timeout: snapshot.idle_timeout,
            seen: snapshot.seen,
            noted: snapshot.noted,
        })
    }

    /// What the line itself has, if it is that session's and not on the move: one cache line and no other.
    #[inline]
    pub(super) fn snapshot(&self, id: u64) -> Option<Snapshot> {
        let facts = self.line.facts(id)?;
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(8).zip(&self.line.digest) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        (self.line.still(id) && !facts.frozen()).then_some(Snapshot {
            handle: SessionHandle { id, page: self.number, slot: self.slot },
            digest,
            user: UserId::from_number(facts.user().into()),
            deadline: ViewTime::from_secs(facts.deadline),
            idle_timeout: facts.idle_timeout(),
            seen: facts.seen(),
            noted: facts.noted(),
        })
    }

    /// Notes that the session, if it is live, was seen at `now`. False if the line is no longer the session's: it is to
    /// be noted in its new place then.
    #[inline]
    pub(super) fn touch(&self, id: u64, now: ViewTime) -> bool {
        let Some(facts) = self.line.facts(id).filter(|facts| !facts.frozen()) else { return false };
        if !self.line.still(id) {
            return false;
        }
        if facts.seen() >= now || !facts.live(now) {
            return true;
        }
        step(Step::Touch);
        self.line.seen.store(DIRTY | seen_word(now), Ordering::Relaxed);
        self.line.id.load(Ordering::Relaxed) == id && self.line.deadline.load(Ordering::Relaxed) != FROZEN
    }

    /// Takes the mark that the session was seen, and when that was. For the writer, so that the line does not move.
    pub(super) fn take_seen(&self) -> Option<(SessionId, ViewTime)> {
        let id = self.line.id.load(Ordering::Acquire);
        if id <= TOMBSTONE || self.line.seen.load(Ordering::Relaxed) & DIRTY == 0 {
            return None;
        }
        // A reader that stores from here on sets the mark again.
        let taken = self.line.seen.fetch_and(!DIRTY, Ordering::AcqRel);
        Some((SessionId::from_number(id), time_of(taken)))
    }
}

/// What a search found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search<'a> {
    Hit(Spot<'a>),
    Miss,
    /// A miss while lines were on the move: only the writer's lock can tell.
    Unsure,
}

#[derive(Debug)]
pub(super) struct Lines {
    /// Odd while lines are on the move, different after it: a miss is believed only if this stood still.
    pub(super) structure: AtomicU64,
    pub(super) depth: AtomicU32,
    /// The directory of each depth; the older ones stay for readers that are under way.
    pub(super) directories: [OnceLock<Box<[AtomicU32]>>; DEPTHS],
    pub(super) pages: Segmented<Page, { size(16, 1) }>,
}

impl Lines {
    pub(super) fn new() -> Result<Self> {
        let lines = Self {
            structure: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            directories: std::array::from_fn(|_| OnceLock::new()),
            pages: Segmented::new(),
        };
        lines.pages.grow_to(0)?;
        if let Some(first) = lines.directories.first() {
            first.get_or_init(|| Box::new([AtomicU32::new(0)]));
        }
        Ok(lines)
    }

    /// Finds the line of a session.
    #[inline]
    pub(super) fn search(&self, id: u64) -> Search<'_> {
        let before = self.structure.load(Ordering::Acquire);
        if let Some(spot) = self.probe(id) {
            return Search::Hit(spot);
        }
        // The writer makes `structure` odd before it moves the first line; a probe that met a moved line sees that.
        fence(Ordering::Acquire);
        match before.is_multiple_of(2) && self.structure.load(Ordering::Relaxed) == before {
            true => Search::Miss,
            false => Search::Unsure,
        }
    }

    /// One search, which may miss a line that is on the move.
    // INVARIANT: no line between a session's first line and its own is empty.
    #[inline]
    pub(super) fn probe(&self, id: u64) -> Option<Spot<'_>> {
        if id <= TOMBSTONE {
            return None;
        }
        let depth = self.depth.load(Ordering::Acquire);
        let number = self.directory(depth)?.get(index(id, depth))?.load(Ordering::Acquire);
        step(Step::DirectoryRead);
        let page = self.pages.get(number)?;
        let start = id as usize % LINES;
        for step in 0..LINES {
            let slot = (start + step) % LINES;
            let line = page.lines.get(slot)?;
            match line.id.load(Ordering::Acquire) {
                found if found == id => return Some(Spot { page, line, number, slot: slot as u8 }),
                EMPTY => return None,
                _ => {}
            }
        }
        None
    }

    #[inline]
    pub(super) fn at(&self, number: u32, slot: u8) -> Option<Spot<'_>> {
        let page = self.pages.get(number)?;
        let line = page.lines.get(usize::from(slot) % LINES)?;
        Some(Spot { page, line, number, slot: slot % LINES as u8 })
    }

    #[inline]
    pub(super) fn directory(&self, depth: u32) -> Option<&[AtomicU32]> {
        self.directories.get(depth as usize)?.get().map(|entries| &**entries)
    }
}

/// The place of an id in the directory of a depth: its top bits.
#[inline]
pub(super) const fn index(id: u64, depth: u32) -> usize {
    ((id >> 1) >> (63 - depth)) as usize
}
