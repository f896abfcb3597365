//! What few sessions have beside their line, so that the others do not pay for it.
//!
//! A line says whether there is a note on its session; only then somebody looks here. The locks are held for a lookup and
//! never across I/O.

use crate::session::Impersonator;
use parking_lot::RwLock;
use std::collections::HashMap;

const SHARDS: usize = 64;

/// The note on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Who acts in it as its user.
    pub(crate) impersonator: Option<Impersonator>,
}

#[derive(Debug)]
pub(super) struct Notes {
    shards: [RwLock<HashMap<u64, Note>>; SHARDS],
}

impl Default for Notes {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl Notes {
    pub(super) fn get(&self, session: u64) -> Option<Note> {
        self.shard(session).read().get(&session).copied()
    }

    pub(super) fn put(&self, session: u64, note: Note) {
        self.shard(session).write().insert(session, note);
    }

    pub(super) fn remove(&self, session: u64) {
        let shard = self.shard(session);
        // Most sessions have none: readers are not kept waiting for those.
        if shard.read().contains_key(&session) {
            shard.write().remove(&session);
        }
    }

    /// Session ids are random in every bit.
    fn shard(&self, session: u64) -> &RwLock<HashMap<u64, Note>> {
        self.shards.get(session as usize % SHARDS).unwrap_or(&self.shards[0])
    }
}
