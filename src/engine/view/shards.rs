//! What only a few sessions and keys have beside their line, by number.
//!
//! A line says whether there is something; only then somebody looks here. The locks are held for a lookup and never
//! across I/O.

use super::sync::size;
use parking_lot::RwLock;
use std::collections::HashMap;

const SHARDS: usize = size(64, 1);

#[derive(Debug)]
pub(super) struct Shards<T> {
    shards: Box<[RwLock<HashMap<u64, T>>]>,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl<T: Clone> Shards<T> {
    pub(super) fn get(&self, number: u64) -> Option<T> {
        self.shard(number)?.read().get(&number).cloned()
    }

    pub(super) fn put(&self, number: u64, value: T) {
        if let Some(shard) = self.shard(number) {
            shard.write().insert(number, value);
        }
    }

    pub(super) fn remove(&self, number: u64) {
        // Most have nothing here: readers are not kept waiting for those.
        if let Some(shard) = self.shard(number).filter(|shard| shard.read().contains_key(&number)) {
            shard.write().remove(&number);
        }
    }

    /// There always is one. Numbers are random but for bit 6, which tells keys from sessions.
    fn shard(&self, number: u64) -> Option<&RwLock<HashMap<u64, T>>> {
        self.shards.get((number >> 8) as usize % SHARDS)
    }
}
