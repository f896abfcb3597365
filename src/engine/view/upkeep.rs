//! What housekeeping and the feed of changes ask of the view.

use super::lines::{LINES, TOMBSTONE};
use super::{Answer, Holding, SessionLine, View, ViewTime};
use crate::id::{RoleId, ScopeId, SessionId, UserId};
use std::sync::atomic::Ordering;

impl SessionLine {
    /// Whether neither limit of the session is over.
    pub(crate) fn is_in_time(&self, now: ViewTime) -> bool {
        now < self.deadline && self.idle_end().is_none_or(|end| u64::from(now.secs()) < end)
    }

    /// The second in which the idle limit is over, where there is one.
    pub(crate) fn idle_end(&self) -> Option<u64> {
        let idle = u64::from(self.idle_timeout);
        (idle > 0).then(|| u64::from(self.seen.secs()) + idle)
    }
}

impl View {
    pub(crate) fn has_role(&self, role: RoleId) -> bool {
        self.writer.lock().policy.has_role(role)
    }

    /// Whether a user holds something at a scope that has an effect, now or later: it has not ended, and what it names is
    /// there.
    pub(crate) fn counts(&self, user: UserId, scope: ScopeId, holding: Holding, now: ViewTime) -> bool {
        let writer = self.writer.lock();
        let named = match holding {
            Holding::Role(role) => writer.policy.has_role(role),
            Holding::Permission(permission) => writer.policy.is_defined(permission),
        };
        let there = scope == ScopeId::ROOT || self.scoped.parent(scope.get()).is_some();
        let is_user = self.cell(user).is_some_and(|cell| cell.current().0.is_some());
        named && there && is_user && {
            let parts = writer.parts(self.set_of(user, scope));
            parts.iter().any(|part| part.holding == holding && !part.has_ended(now))
        }
    }

    /// The second in which a session ends unless it is used before then; none for one that is not live.
    pub(crate) fn live_until(&self, id: SessionId, now: ViewTime) -> Option<ViewTime> {
        let handle = self.find(id)?.handle();
        if self.session_live(handle, now) != Answer::Allow {
            return None;
        }
        let line = self.session(id)?;
        let idle = line.idle_end().and_then(|end| u32::try_from(end).ok()).map(ViewTime::from_secs);
        Some(idle.map_or(line.deadline, |idle| idle.min(line.deadline)))
    }

    /// Looks at up to `span` pages from the page `from` on for sessions that were not used for `margin` seconds beyond
    /// their idle limit, and ends with the page on which there are `limit` of them. Returns them, and the page at which to go
    /// on; none after the last one.
    ///
    /// No lock is held. A line that moves meanwhile is missed, or seen twice: the next round finds it.
    pub(crate) fn idle_sessions(
        &self,
        from: u32,
        span: u32,
        limit: usize,
        margin: u32,
        now: ViewTime,
    ) -> (Vec<SessionId>, Option<u32>) {
        let pages = self.pages();
        let mut found = Vec::new();
        for page in from..pages.min(from.saturating_add(span)) {
            if found.len() >= limit {
                return (found, Some(page));
            }
            for spot in (0..LINES).filter_map(|slot| self.lines.at(page, slot as u8)) {
                let id = spot.line.id.load(Ordering::Relaxed);
                if id <= TOMBSTONE {
                    continue;
                }
                let line = spot.read(id);
                if line.is_some_and(|line| line.is_idle_beyond(margin, now)) {
                    found.push(SessionId::from_number(id));
                }
            }
        }
        let next = from.saturating_add(span);
        (found, (next < pages).then_some(next))
    }

    /// Whether a session was not used for `margin` seconds beyond its idle limit.
    pub(crate) fn is_idle_beyond(&self, id: SessionId, margin: u32, now: ViewTime) -> bool {
        self.session(id).is_some_and(|line| line.is_idle_beyond(margin, now))
    }
}

impl SessionLine {
    fn is_idle_beyond(&self, margin: u32, now: ViewTime) -> bool {
        self.idle_end().is_some_and(|end| end + u64::from(margin) <= u64::from(now.secs()))
    }
}
