//! What few sessions have beside their line, so that the others do not pay for it.
//!
//! A line says whether there is a note on its session; only then somebody looks here. The locks are held for a lookup and
//! never across I/O.

use super::sync::size;
use crate::session::Impersonator;
use parking_lot::RwLock;
use std::collections::HashMap;

const SHARDS: usize = size(64, 1);

/// The note on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Who acts in it as its user.
    pub(crate) impersonator: Option<Impersonator>,
}

#[derive(Debug)]
pub(super) struct Notes {
    shards: Box<[RwLock<HashMap<u64, Note>>]>,
}

impl Default for Notes {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl Notes {
    pub(super) fn get(&self, session: u64) -> Option<Note> {
        self.shard(session)?.read().get(&session).copied()
    }

    pub(super) fn put(&self, session: u64, note: Note) {
        if let Some(shard) = self.shard(session) {
            shard.write().insert(session, note);
        }
    }

    pub(super) fn remove(&self, session: u64) {
        // Most sessions have none: readers are not kept waiting for those.
        if let Some(shard) = self.shard(session).filter(|shard| shard.read().contains_key(&session)) {
            shard.write().remove(&session);
        }
    }

    /// Session ids are random in every bit. There always is one.
    fn shard(&self, session: u64) -> Option<&RwLock<HashMap<u64, Note>>> {
        self.shards.get(session as usize % SHARDS)
    }
}
