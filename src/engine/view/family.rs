//! Sessions whose token may have run out while they go on, because they can be refreshed.

use super::{Standing, View, ViewTime};
use crate::id::SessionId;
use std::sync::atomic::Ordering;

impl View {
    /// Whether a session is still one of its user's, whatever the token says: nobody has ended it, and the user may log
    /// in. For listings and other questions that can wait for the lock.
    pub(crate) fn session_stands(&self, session: SessionId, now: ViewTime) -> bool {
        let _writer = self.writer.lock();
        let Some(spot) = self.lines.probe(session.get()).filter(|_| !self.is_stopped()) else { return false };
        let Some(cell) = self.users.get(spot.user()) else { return false };
        let aside = spot.aside();
        matches!(cell.read(now).standing, Standing::Active | Standing::Lifted)
            && aside.generation() >= cell.generation()
            && crate::session::is_of_era(aside.era(), self.counters.era.load(Ordering::Acquire))
    }
}
