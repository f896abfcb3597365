//! What asynchronous calls wait for before they take a thread.

use super::Portcullis;
use super::login::Login;
use crate::audit::Actor;
use crate::crypto::{Entering, Gate, Limits, Source};
use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;

/// Calls that change or list something and run at once for asynchronous callers. Enough to share the syncs of a disk,
/// and far from the 512 threads that tokio gives to blocking calls by default.
const CALLS: usize = 32;

/// The gate of those calls. They wait as tasks, for as long as their callers do, in one line for each source.
pub(super) fn calls() -> Arc<Gate> {
    Gate::new(Limits {
        hashes: CALLS,
        queue: usize::MAX,
        share: usize::MAX,
        blocks: 0,
        patience: Duration::MAX,
    })
}

impl Portcullis {
    /// A permit for a password hash of the present cost.
    pub(crate) fn entering_hash(&self, source: Source) -> Result<Entering> {
        let hasher = &self.engine.hasher;
        Ok(hasher.gate().entering(source, hasher.blocks()?))
    }

    /// A permit for a call that waits for no hash.
    pub(crate) fn entering_call(&self, source: Source) -> Entering {
        self.engine.calls.entering(source, 0)
    }

    /// Ends the session of a login that nobody waited for: its token can not be had again.
    pub(crate) fn forget_login(&self, login: &Login) {
        let actor = Actor::User(login.user());
        let gate = Self { actor, delegated: false, impersonator: None, ..self.clone() };
        // Nobody is left to hear of an error; the session ends by its limits then.
        let _ = gate.sessions().revoke(login.session().id);
    }
}
