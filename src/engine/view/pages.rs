//! The writer's side of the session table: placing, removing, and moving lines to fresh pages.

use super::lines::{
    DEPTHS, DIRTY, EMPTY, FROZEN, LINES, Lines, Page, SessionLine, Spot, TOMBSTONE, index, pair, seen_word,
    who_word,
};
use super::step::{Step, step};
use super::sync::{AtomicU32, Ordering, fence, size};
use super::time::ViewTime;
use crate::error::{Error, Result};
use crate::id::SessionId;
use std::collections::VecDeque;

/// Live lines beyond which a page is split. Fuller pages save memory and make a search read more lines: at a million
/// sessions this costs about 145 bytes a session and 1.5 lines a search.
const FULL: u8 = size(48, 3) as u8;
/// A page with fewer empty lines than this, and this many tombstones, is moved to a fresh page.
const SPARE: u8 = size(6, 1) as u8;
/// The directory may always have this many entries, and beyond that so many for each session: random ids need about
/// one for ten, so that only chosen ids meet the limit.
const ENTRIES_FREE: u64 = 4096;
const ENTRIES_PER_SESSION: u64 = 16;

#[derive(Clone, Copy, Debug)]
struct Info {
    /// How many top bits the ids in the page have in common.
    depth: u8,
    live: u8,
    empty: u8,
}

const FRESH: Info = Info { depth: 0, live: 0, empty: LINES as u8 };

/// What the one writer knows of the pages.
#[derive(Debug)]
pub(super) struct Pages {
    info: Vec<Info>,
    /// Pages that nothing leads to; used oldest first.
    free: VecDeque<u32>,
    live: u64,
    nonce: u32,
    /// Where the next collection of last-seen times goes on.
    cursor: u32,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { info: vec![FRESH], free: VecDeque::new(), live: 0, nonce: 0, cursor: 0 }
    }

    /// How many sessions there are.
    pub(super) const fn len(&self) -> u64 {
        self.live
    }

    /// How many pages there are, free ones among them.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.info.len()).unwrap_or(u32::MAX)
    }

    /// Inserts a session, or brings it up to date. A later time of last use that readers noted is kept.
    pub(super) fn put(&mut self, lines: &Lines, session: &SessionLine) -> Result<()> {
        let id = session.id.get();
        if id <= TOMBSTONE {
            return Err(Error::limit("session", format!("no session can have the id {id}")));
        }
        let user = user_number(session)?;
        if let Some(spot) = lines.probe(id) {
            self.update(lines, &spot, user, *session);
            return Ok(());
        }
        let number = self.room(lines, id)?;
        let start = id as usize % LINES;
        let mut slots = (0..LINES).map(|step| (start + step) % LINES);
        let free = slots.find_map(|slot| {
            let spot = lines.at(number, slot as u8)?;
            let id = spot.line.id.load(Ordering::Relaxed);
            (id <= TOMBSTONE).then_some((spot, id))
        });
        let (Some((spot, former)), Some(info)) = (free, self.info.get_mut(number as usize)) else {
            return Err(full());
        };
        info.live += 1;
        info.empty -= u8::from(former == EMPTY);
        self.live += 1;
        spot.line.seen.store(0, Ordering::Relaxed);
        self.place(&spot, user, session);
        Ok(())
    }

    /// Takes a session away; true if it was there.
    pub(super) fn remove(&mut self, lines: &Lines, id: u64) -> bool {
        let Some(spot) = lines.probe(id) else { return false };
        let Some(info) = self.info.get_mut(spot.number as usize) else { return false };
        info.live -= 1;
        self.live -= 1;
        spot.line.id.store(TOMBSTONE, Ordering::Release);
        // Tombstones at the end of a run lead nowhere.
        let at = |back: usize| spot.page.lines.get((usize::from(spot.slot) + LINES + 1 - back) % LINES);
        if at(0).is_some_and(|next| next.id.load(Ordering::Relaxed) == EMPTY) {
            for line in (1..=LINES).map_while(at) {
                if line.id.load(Ordering::Relaxed) != TOMBSTONE {
                    break;
                }
                line.id.store(EMPTY, Ordering::Release);
                info.empty += 1;
            }
        }
        true
    }

    /// Takes up to `limit` sessions that were seen since they were last taken, from the next `span` pages; true after the
    /// last page, and the next call begins at the first one.
    pub(super) fn take_seen(
        &mut self,
        lines: &Lines,
        limit: usize,
        span: u32,
        out: &mut Vec<(SessionId, ViewTime)>,
    ) -> bool {
        let pages = self.count();
        let end = self.cursor.saturating_add(span).min(pages);
        while self.cursor < end {
            for spot in (0..LINES).filter_map(|slot| lines.at(self.cursor, slot as u8)) {
                if out.len() >= limit {
                    return false;
                }
                out.extend(spot.take_seen());
            }
            self.cursor += 1;
        }
        let is_last = self.cursor >= pages;
        if is_last {
            self.cursor = 0;
        }
        is_last
    }

    /// Makes every line forget its user's set.
    pub(super) fn forget_grants(&mut self, lines: &Lines) {
        for page in (0..=u32::MAX).map_while(|number| lines.pages.get(number)).take(self.info.len()) {
            for line in &page.lines {
                line.grant.store(self.stale_grant(), Ordering::Relaxed);
            }
        }
    }

    pub(super) fn bytes(&self, lines: &Lines) -> usize {
        let entries: usize =
            lines.directories.iter().filter_map(|entries| entries.get()).map(|d| d.len()).sum();
        let own = self.info.capacity() * size_of::<Info>() + self.free.capacity() * size_of::<u32>();
        lines.pages.bytes() + entries * size_of::<AtomicU32>() + own
    }

    fn update(&mut self, lines: &Lines, spot: &Spot<'_>, user: u32, session: SessionLine) {
        let (id, line) = (session.id.get(), spot.line);
        let same = spot.read(id).is_some_and(|old| {
            (old.digest, old.user, old.generation, old.selection, old.era)
                == (session.digest, session.user, session.generation, session.selection, session.era)
        });
        if same {
            line.who.store(who_word(user, &session), Ordering::Release);
            line.deadline.store(deadline_word(&session), Ordering::Release);
            line.merge_seen(seen_word(session.seen));
            return;
        }
        let _moving = Moving::begin(lines);
        line.deadline.store(FROZEN, Ordering::Relaxed);
        line.id.store(TOMBSTONE, Ordering::Relaxed);
        self.place(spot, user, &session);
    }

    /// Writes a line that no reader takes for a session's at present. The time of last use is that of the line if it
    /// is later; a new tenant has it cleared first.
    fn place(&mut self, spot: &Spot<'_>, user: u32, session: &SessionLine) {
        let line = spot.line;
        // A reader that meets a word of these and had read the former id finds that id gone.
        fence(Ordering::Release);
        for (word, bytes) in line.digest.iter().zip(session.digest.chunks_exact(8)) {
            word.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
        line.merge_seen(seen_word(session.seen));
        line.deadline.store(deadline_word(session), Ordering::Relaxed);
        line.grant.store(self.stale_grant(), Ordering::Relaxed);
        line.who.store(who_word(user, session), Ordering::Relaxed);
        spot.put_aside(session);
        line.id.store(session.id.get(), Ordering::Release);
    }

    /// A grant word that says nothing and that no line had before (within 2^32 lines placed).
    const fn stale_grant(&mut self) -> u64 {
        self.nonce = self.nonce.wrapping_add(1);
        pair(self.nonce, 0)
    }

    /// The page for a new session, with room in it.
    fn room(&mut self, lines: &Lines, id: u64) -> Result<u32> {
        loop {
            let number = page_of(lines, id)?;
            let Some(info) = self.info.get(number as usize).copied() else { return Err(full()) };
            if info.live >= FULL && self.may_split(info) {
                self.rebuild(lines, number, id, true)?;
            } else if usize::from(info.live) >= LINES {
                return Err(Error::limit("session", "too many session ids begin with the same bits"));
            } else if info.empty < SPARE && usize::from(info.live + info.empty + SPARE) <= LINES {
                self.rebuild(lines, number, id, false)?;
            } else {
                return Ok(number);
            }
        }
    }

    fn may_split(&self, info: Info) -> bool {
        let entries = 1u64 << (info.depth + 1);
        usize::from(info.depth) + 1 < DEPTHS && entries <= ENTRIES_FREE.max(ENTRIES_PER_SESSION * self.live)
    }

    /// Moves the lines of a page to a fresh page, or to two by their next bit.
    ///
    /// A reader that follows the old directory finds the lines in the old page until they are cleared; from then on
    /// it misses, finds that `structure` moved, and asks under the lock. Only then is the old page used again.
    fn rebuild(&mut self, lines: &Lines, old: u32, id: u64, split: bool) -> Result<()> {
        let Some(former) = self.info.get(old as usize).copied() else { return Err(full()) };
        let depth = former.depth + u8::from(split);
        deepen(lines, depth.into())?;
        let low = self.fresh(lines, depth)?;
        let high = if split { self.fresh(lines, depth)? } else { low };
        let Some(page) = lines.pages.get(old) else { return Err(full()) };

        let mut moves = Vec::with_capacity(former.live.into());
        let _moving = Moving::begin(lines);
        for slot in 0..LINES as u8 {
            let Some(from) = lines.at(old, slot) else { continue };
            let Some(session) = from.read(from.line.id.load(Ordering::Relaxed)) else { continue };
            let id = session.id.get();
            if id <= TOMBSTONE {
                continue;
            }
            from.line.deadline.swap(FROZEN, Ordering::AcqRel);
            let target = if split && index(id, depth.into()) % 2 == 1 { high } else { low };
            if let Some(to) = first_empty(lines, target, id) {
                let user = (from.line.who.load(Ordering::Relaxed) >> 32) as u32;
                to.line.seen.store(from.line.seen.load(Ordering::Relaxed), Ordering::Relaxed);
                self.place(&to, user, &session);
                moves.push((from, to));
                step(Step::LineCopied);
                if let Some(info) = self.info.get_mut(target as usize) {
                    info.live += 1;
                    info.empty -= 1;
                }
            }
        }
        publish(lines, id, former.depth.into(), low, high);
        for line in &page.lines {
            line.id.store(EMPTY, Ordering::Release);
        }
        fence(Ordering::SeqCst);
        for (from, to) in moves {
            to.line.merge_seen(from.line.seen.load(Ordering::Relaxed));
        }
        if let Some(info) = self.info.get_mut(old as usize) {
            *info = FRESH;
        }
        self.free.push_back(old);
        Ok(())
    }

    /// An empty page that nothing leads to.
    fn fresh(&mut self, lines: &Lines, depth: u8) -> Result<u32> {
        let number = match self.free.pop_front() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.info.len()).map_err(|_| full())?;
                lines.pages.grow_to(number)?;
                self.info.push(FRESH);
                number
            }
        };
        if let Some(info) = self.info.get_mut(number as usize) {
            info.depth = depth;
        }
        Ok(number)
    }
}

/// Lines are on the move for as long as this lives: readers do not believe their own misses.
struct Moving<'a>(&'a Lines);

impl<'a> Moving<'a> {
    fn begin(lines: &'a Lines) -> Self {
        let count = lines.structure.load(Ordering::Relaxed);
        lines.structure.store(count + 1, Ordering::Relaxed);
        // Whoever sees a line moved sees the odd count.
        fence(Ordering::Release);
        Self(lines)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let count = self.0.structure.load(Ordering::Relaxed);
        self.0.structure.store(count + 1, Ordering::Release);
    }
}

fn page_of(lines: &Lines, id: u64) -> Result<u32> {
    let depth = lines.depth.load(Ordering::Relaxed);
    let entry = lines.directory(depth).and_then(|entries| entries.get(index(id, depth)));
    entry.map(|entry| entry.load(Ordering::Relaxed)).ok_or_else(full)
}

/// The line for an id in a page without tombstones that has room for it.
fn first_empty<'a>(lines: &'a Lines, page: u32, id: u64) -> Option<Spot<'a>> {
    let start = id as usize % LINES;
    let mut spots = (0..LINES).filter_map(|step| lines.at(page, ((start + step) % LINES) as u8));
    spots.find(|spot| spot.line.id.load(Ordering::Relaxed) == EMPTY)
}

/// Makes the directory at least that deep.
fn deepen(lines: &Lines, wanted: u32) -> Result<()> {
    let mut depth = lines.depth.load(Ordering::Relaxed);
    while depth < wanted {
        let (Some(entries), Some(next)) = (lines.directory(depth), lines.directories.get(depth as usize + 1))
        else {
            return Err(full());
        };
        let twice = |entry: &AtomicU32| {
            let number = entry.load(Ordering::Relaxed);
            [AtomicU32::new(number), AtomicU32::new(number)]
        };
        let _ = next.set(entries.iter().flat_map(twice).collect());
        depth += 1;
        lines.depth.store(depth, Ordering::Release);
    }
    Ok(())
}

/// Leads the ids that share their first `depth` bits with `id` to two pages by the bit after those.
fn publish(lines: &Lines, id: u64, depth: u32, low: u32, high: u32) {
    let whole = lines.depth.load(Ordering::Relaxed);
    let span = 1usize << (whole - depth);
    let first = index(id, depth) * span;
    let entries = lines.directory(whole).and_then(|entries| entries.get(first..first + span));
    for (nth, entry) in entries.unwrap_or_default().iter().enumerate() {
        entry.store(if nth * 2 < span { low } else { high }, Ordering::Release);
    }
}

/// Never `FROZEN`.
fn deadline_word(session: &SessionLine) -> u32 {
    session.deadline.secs().clamp(FROZEN + 1, DIRTY - 1)
}

fn user_number(session: &SessionLine) -> Result<u32> {
    u32::try_from(session.user.get())
        .map_err(|_| Error::limit("user", format!("{} is beyond the last one", session.user)))
}

#[cold]
fn full() -> Error {
    Error::limit("session", "the session table is full")
}

const _: () = assert!(cfg!(view_model) || size_of::<Page>() == 64 * 64 + 64 * 8);
