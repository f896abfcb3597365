//! Who may run next: the rules of the admission gate as a data structure that knows neither threads nor clocks.
//!
//! Waiters stand in one line a source, first come first served, and the lines are served in turn. So a source waits for
//! as many hashes as there are sources, however many of its own any other one has brought.

use super::links::{Links, List};
use super::source::Source;
use std::collections::HashMap;
use std::time::Duration;

/// What the gate holds to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Hashes that run at once.
    pub(crate) hashes: usize,
    /// Waiters of all sources together.
    pub(crate) queue: usize,
    /// Waiters of one source.
    pub(crate) share: usize,
    /// Blocks of 1 KiB of all hashes together.
    pub(crate) blocks: usize,
    /// How long one waits.
    pub(crate) patience: Duration,
}

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The source has its share of the queue already.
    Share,
    /// The queue is full, and the source has no claim to the place of another one.
    Full,
    /// A source with fewer waiters took the place.
    Displaced,
    /// The waiting limit was over.
    Patience,
    /// Whoever asked was not to wait. It is the gate's answer, not the queue's.
    Trial,
}

/// What becomes of a newcomer. `W` wakes a waiter, `L` is what somebody who runs is lent.
#[derive(Debug)]
pub(super) enum Arrival<W, L> {
    Admitted(L),
    /// In line, under that number; whose place it was is to be woken.
    Waiting(usize, Option<W>),
    Refused(Refusal),
}

/// Counted since the gate was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) admitted: u64,
    pub(super) refused_share: u64,
    pub(super) refused_full: u64,
    pub(super) displaced: u64,
    pub(super) timed_out: u64,
    pub(super) abandoned: u64,
    pub(super) longest_wait: Duration,
    pub(super) total_wait: Duration,
    pub(super) peak_running: usize,
    pub(super) peak_waiting: usize,
}

#[derive(Debug)]
struct Waiter<W, L> {
    /// The line of its source; none for those who gave their permit back to ask for more memory.
    line: Option<usize>,
    need: usize,
    since: Duration,
    wake: Option<W>,
    answer: Option<Result<L, Refusal>>,
}

#[derive(Debug)]
struct Line {
    source: Source,
    waiters: List,
    count: usize,
}

/// The state of a gate. Every time that is given to it is a span since the same beginning, and none is before the last.
#[derive(Debug)]
pub(super) struct Queue<W, L> {
    limits: Limits,
    running: usize,
    /// Blocks promised to those who run.
    lent: usize,
    waiters: Vec<Option<Waiter<W, L>>>,
    free_waiters: Vec<usize>,
    lines: Vec<Line>,
    free_lines: Vec<usize>,
    by_source: HashMap<Source, usize>,
    /// Waiters in their line, or in `urgent`.
    in_line: Links,
    /// Those served before all lines. There are never more than hashes run at once: each had a permit before, and while
    /// one of them waits nobody else gets one.
    urgent: List,
    urgent_count: usize,
    /// Lines, the next one to be served first.
    ring: List,
    in_ring: Links,
    /// Lines by how many wait in them.
    by_count: Vec<List>,
    in_count: Links,
    /// How many wait in the longest line.
    most: usize,
    /// All waiters, who has waited longest first.
    arrivals: List,
    in_arrivals: Links,
    waiting: usize,
    figures: Figures,
    /// How long a permit is held, smoothed.
    service: Option<Duration>,
}

impl<W, L> Queue<W, L> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            running: 0,
            lent: 0,
            waiters: Vec::new(),
            free_waiters: Vec::new(),
            lines: Vec::new(),
            free_lines: Vec::new(),
            by_source: HashMap::new(),
            in_line: Links::default(),
            urgent: List::EMPTY,
            urgent_count: 0,
            ring: List::EMPTY,
            in_ring: Links::default(),
            by_count: Vec::new(),
            in_count: Links::default(),
            most: 0,
            arrivals: List::EMPTY,
            in_arrivals: Links::default(),
            waiting: 0,
            figures: Figures::default(),
            service: None,
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.lent
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn sources(&self) -> usize {
        self.by_source.len()
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// About how long it takes until everybody who waits now is served; none before any hash has finished.
    pub(super) fn backlog(&self) -> Option<Duration> {
        let turns = self.waiting / self.limits.hashes.max(1) + 1;
        self.service.map(|service| service.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX)))
    }

    /// Somebody asks to run with so many blocks. Whoever comes while others wait gets in line behind them, also where
    /// less memory would do: what needs much of it is not to starve.
    pub(super) fn arrive(
        &mut self,
        now: Duration,
        source: Source,
        need: usize,
        wake: impl FnOnce() -> W,
        lend: impl FnOnce(usize) -> L,
    ) -> Arrival<W, L> {
        if self.waiting == 0 && self.fits(need) {
            self.start(need);
            self.figures.admitted += 1;
            return Arrival::Admitted(lend(need));
        }
        let line = self.by_source.get(&source).copied();
        let mine = line.and_then(|line| self.lines.get(line)).map_or(0, |line| line.count);
        if mine >= self.limits.share {
            self.figures.refused_share += 1;
            return Arrival::Refused(Refusal::Share);
        }
        let mut displaced = None;
        if self.waiting - self.urgent_count >= self.limits.queue {
            // With the newcomer, its source must still have fewer than the longest line had, or two sources would take
            // one place from each other again and again.
            if mine + 1 >= self.most {
                self.figures.refused_full += 1;
                return Arrival::Refused(Refusal::Full);
            }
            displaced = self.displace();
        }
        let line = self.line_of(source);
        let ticket = self.wait(now, Some(line), need, wake());
        if let Some(Line { waiters, count, .. }) = self.lines.get_mut(line) {
            self.in_line.push(waiters, ticket);
            *count += 1;
            let count = *count;
            self.recount(line, count - 1, count);
        }
        self.figures.peak_waiting = self.figures.peak_waiting.max(self.waiting);
        Arrival::Waiting(ticket, displaced)
    }

    /// Somebody who ran has finished, gave back what was lent, and asks for more: served before all lines, since whoever
    /// waits for its whole turn again would take a thread away meanwhile.
    #[cfg(any(test, feature = "tokio"))]
    pub(super) fn urge(
        &mut self,
        now: Duration,
        need: usize,
        wake: impl FnOnce() -> W,
        lend: impl FnOnce(usize) -> L,
    ) -> Arrival<W, L> {
        if self.urgent_count == 0 && self.fits(need) {
            self.start(need);
            return Arrival::Admitted(lend(need));
        }
        let ticket = self.wait(now, None, need, wake());
        self.in_line.push(&mut self.urgent, ticket);
        self.urgent_count += 1;
        Arrival::Waiting(ticket, None)
    }

    /// Somebody who ran has finished, after so long if that says how long others will take.
    pub(super) fn finish(&mut self, need: usize, lasted: Option<Duration>) {
        self.running -= 1;
        self.lent -= need;
        if let Some(lasted) = lasted {
            let before = self.service.unwrap_or(lasted);
            self.service = Some(before.saturating_mul(7).saturating_add(lasted) / 8);
        }
    }

    /// Answers one waiter, if there is one to answer now: one whose time is over, or the next to run. Returns what wakes
    /// it. To be called until there is none, after everything that may have made room.
    pub(super) fn settle(&mut self, now: Duration, lend: impl FnOnce(usize) -> L) -> Option<W> {
        if let Some(woken) = self.expire(now) {
            return Some(woken);
        }
        let urgent = self.urgent.first();
        let ticket =
            urgent.or_else(|| self.lines.get(self.ring.first()?).and_then(|line| line.waiters.first()))?;
        let Waiter { line, need, since, .. } = self.waiters.get(ticket)?.as_ref()?;
        let (line, need, waited) = (*line, *need, now.saturating_sub(*since));
        if !self.fits(need) {
            return None;
        }
        self.start(need);
        self.unlink(ticket);
        if let Some(line) = line {
            self.figures.admitted += 1;
            if self.lines.get(line).is_some_and(|line| line.count > 0) {
                self.in_ring.remove(&mut self.ring, line);
                self.in_ring.push(&mut self.ring, line);
            }
        }
        self.figures.longest_wait = self.figures.longest_wait.max(waited);
        self.figures.total_wait = self.figures.total_wait.saturating_add(waited);
        self.answer(ticket, Ok(lend(need)))
    }

    /// Refuses one whose waiting limit is over.
    pub(super) fn expire(&mut self, now: Duration) -> Option<W> {
        let ticket = self.arrivals.first()?;
        let waiter = self.waiters.get(ticket)?.as_ref()?;
        if waiter.since.saturating_add(self.limits.patience) > now {
            return None;
        }
        self.figures.timed_out += u64::from(waiter.line.is_some());
        self.unlink(ticket);
        self.answer(ticket, Err(Refusal::Patience))
    }

    /// The answer, if there is one; the ticket is of no use afterwards.
    pub(super) fn take(&mut self, ticket: usize) -> Option<Result<L, Refusal>> {
        let place = self.waiters.get_mut(ticket)?;
        let answer = place.as_mut()?.answer.take()?;
        *place = None;
        self.free_waiters.push(ticket);
        Some(answer)
    }

    /// Another way to wake a waiter; returns the one before, which is not to be dropped while the gate is locked: it may
    /// hold the last of a task that waits here, too.
    #[cfg(feature = "tokio")]
    pub(super) fn wake_by(&mut self, ticket: usize, wake: W) -> Option<W> {
        self.waiters.get_mut(ticket)?.as_mut()?.wake.replace(wake)
    }

    /// A waiter goes away, whatever the answer would have been. Gives back what it was lent meanwhile, if it was, or what
    /// would have woken it.
    #[cfg(any(test, feature = "tokio"))]
    pub(super) fn abandon(&mut self, ticket: usize) -> (Option<L>, Option<W>) {
        if let Some(answer) = self.take(ticket) {
            return (answer.ok(), None);
        }
        self.unlink(ticket);
        let waiter = self.waiters.get_mut(ticket).and_then(Option::take);
        if let Some(waiter) = &waiter {
            self.figures.abandoned += u64::from(waiter.line.is_some());
            self.free_waiters.push(ticket);
        }
        (None, waiter.and_then(|waiter| waiter.wake))
    }

    /// INVARIANT: with nobody running everything fits that is not larger than the whole budget, which the gate checks.
    fn fits(&self, need: usize) -> bool {
        self.running < self.limits.hashes && need <= self.limits.blocks.saturating_sub(self.lent)
    }

    fn start(&mut self, need: usize) {
        self.running += 1;
        self.lent += need;
        self.figures.peak_running = self.figures.peak_running.max(self.running);
    }

    fn answer(&mut self, ticket: usize, answer: Result<L, Refusal>) -> Option<W> {
        let waiter = self.waiters.get_mut(ticket)?.as_mut()?;
        waiter.answer = Some(answer);
        waiter.wake.take()
    }

    /// Makes room: who has waited longest in the longest line goes. Of several such lines, that which has been so long
    /// for the longest time.
    fn displace(&mut self) -> Option<W> {
        let line = self.by_count.get(self.most)?.first()?;
        let ticket = self.lines.get(line)?.waiters.first()?;
        self.figures.displaced += 1;
        self.unlink(ticket);
        self.answer(ticket, Err(Refusal::Displaced))
    }

    fn wait(&mut self, now: Duration, line: Option<usize>, need: usize, wake: W) -> usize {
        let waiter = Some(Waiter { line, need, since: now, wake: Some(wake), answer: None });
        let ticket = self.free_waiters.pop().unwrap_or(self.waiters.len());
        match self.waiters.get_mut(ticket) {
            Some(place) => *place = waiter,
            None => self.waiters.push(waiter),
        }
        self.in_arrivals.push(&mut self.arrivals, ticket);
        self.waiting += 1;
        ticket
    }

    /// The line of a source; a new one is served after all others.
    fn line_of(&mut self, source: Source) -> usize {
        if let Some(line) = self.by_source.get(&source) {
            return *line;
        }
        let fresh = Line { source, waiters: List::EMPTY, count: 0 };
        let line = self.free_lines.pop().unwrap_or(self.lines.len());
        match self.lines.get_mut(line) {
            Some(place) => *place = fresh,
            None => self.lines.push(fresh),
        }
        self.by_source.insert(source, line);
        self.in_ring.push(&mut self.ring, line);
        line
    }

    /// Takes a waiter out of all lists, and its line, if that is empty now.
    fn unlink(&mut self, ticket: usize) {
        let Some(Some(waiter)) = self.waiters.get(ticket) else { return };
        self.waiting -= 1;
        self.in_arrivals.remove(&mut self.arrivals, ticket);
        let Some(number) = waiter.line else {
            self.in_line.remove(&mut self.urgent, ticket);
            self.urgent_count -= 1;
            return;
        };
        let Some(line) = self.lines.get_mut(number) else { return };
        self.in_line.remove(&mut line.waiters, ticket);
        line.count -= 1;
        let (source, count) = (line.source, line.count);
        self.recount(number, count + 1, count);
        if count == 0 {
            self.in_ring.remove(&mut self.ring, number);
            self.by_source.remove(&source);
            self.free_lines.push(number);
        }
    }

    /// A line has another number of waiters than before, by one.
    fn recount(&mut self, line: usize, before: usize, count: usize) {
        if self.by_count.len() <= before.max(count) {
            self.by_count.resize(before.max(count) + 1, List::EMPTY);
        }
        if before > 0
            && let Some(list) = self.by_count.get_mut(before)
        {
            self.in_count.remove(list, line);
        }
        if count > 0
            && let Some(list) = self.by_count.get_mut(count)
        {
            self.in_count.push(list, line);
        }
        if count > self.most || self.by_count.get(self.most).is_some_and(|list| list.first().is_none()) {
            self.most = count;
        }
    }
}
