//! Who is told when the database closes or stops, so that nobody waits for what will not come.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// What is to end with the database.
pub(super) trait Ends: Send + Sync {
    /// May come several times. It must not wait for anybody: it is called by whoever stops the store.
    fn end(&self);
}

#[derive(Default)]
pub(super) struct Ending(Mutex<State>);

#[derive(Default)]
struct State {
    ended: bool,
    told: Vec<Weak<dyn Ends>>,
}

impl Ending {
    /// Tells somebody when it comes; at once where it has come.
    pub(super) fn tell(&self, who: &Arc<dyn Ends>) {
        let mut state = self.0.lock();
        state.told.retain(|other| other.strong_count() > 0);
        state.told.push(Arc::downgrade(who));
        let ended = state.ended;
        drop(state);
        if ended {
            who.end();
        }
    }

    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        let told: Vec<Arc<dyn Ends>> = state.told.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        for who in told {
            who.end();
        }
    }
}

/// The engine's own: the end comes with it at the latest.
pub(super) struct Guard(Arc<Ending>);

impl Guard {
    pub(super) fn new(ending: Arc<Ending>) -> Self {
        Self(ending)
    }

    pub(super) fn tell(&self, who: &Arc<dyn Ends>) {
        self.0.tell(who);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
    }
}
