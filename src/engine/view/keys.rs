//! API keys: each is a line among those of sessions, with a mark in its number, so that it is found and checked as they
//! are. What a few of them have besides is how often they are accepted.

use super::lines::{LAST_GENERATION, SessionLine};
use super::selection::Choice;
use super::{View, ViewTime};
use crate::apikey::{ApiKeyRecord, RateLimit};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{ApiKeyId, SessionId};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SHARDS: usize = 64;

/// What a key's row comes to in the view.
#[derive(Debug)]
pub(crate) struct KeyLine {
    line: SessionLine,
    choice: Option<Choice>,
    rate: Option<RateLimit>,
}

impl From<&ApiKeyRecord> for KeyLine {
    fn from(key: &ApiKeyRecord) -> Self {
        let limits = key.limits();
        let choice = (limits.permissions.is_some() || limits.scopes.is_some()).then(|| Choice::Limits {
            permissions: limits.permissions,
            scopes: limits.scopes.map(Arc::from),
        });
        let line = SessionLine {
            id: number_of(key.id),
            digest: key.digest,
            user: key.owner,
            // No end of all sessions, of its owner or of everybody, comes to these: a key is ended as a key.
            generation: LAST_GENERATION,
            era: u16::MAX,
            selection: 0,
            deadline: key.expires.map_or(ViewTime::LAST, ViewTime::from),
            idle_timeout: key.idle_secs,
            // A second before it was made where it was not used yet, so that a use in that same second is noted.
            seen: match key.used {
                Some(used) => ViewTime::from(used),
                None => ViewTime::from_secs(ViewTime::from(key.created).secs().saturating_sub(1)),
            },
            noted: limits.rate.is_some(),
        };
        Self { line, choice, rate: limits.rate }
    }
}

/// The number under which a key stands among the sessions.
const fn number_of(key: ApiKeyId) -> SessionId {
    SessionId::from_number(key.get())
}

impl View {
    /// Inserts a key or brings it up to date.
    pub(crate) fn put_key(&self, key: KeyLine) -> Result<()> {
        let KeyLine { line, choice, rate } = key;
        // INVARIANT: as with notes, a limit is there before the line says so. One that is lifted leaves an open bucket.
        self.rates.put(line.id.get(), rate);
        let fresh = self.put_line(&line, choice)?;
        if fresh {
            self.writer.lock().keys += 1;
        }
        Ok(())
    }

    /// Takes a key away.
    pub(crate) fn remove_key(&self, key: ApiKeyId) {
        if self.remove_session(number_of(key)) {
            let mut writer = self.writer.lock();
            writer.keys = writer.keys.saturating_sub(1);
            drop(writer);
            self.rates.remove(key.get());
        }
    }

    /// Takes one request from what a key may make now; else how long to wait. None where the key has ended meanwhile.
    pub(crate) fn take_request(&self, key: SessionId, now: Timestamp) -> Option<Result<(), Duration>> {
        self.rates.get(key.get()).map(|bucket| bucket.take(now))
    }

    /// When a key was last seen, if it has not ended; whether its owner may be let in is left out.
    pub(crate) fn key_seen(&self, key: ApiKeyId, now: ViewTime) -> Option<ViewTime> {
        let line = self.session(number_of(key))?;
        let idle = u64::from(line.idle_timeout);
        let live =
            now < line.deadline && (idle == 0 || u64::from(now.secs()) < u64::from(line.seen.secs()) + idle);
        live.then_some(line.seen)
    }

    /// Whether the view says of a key what the record says; only its last use may be ahead.
    pub(crate) fn agrees_on_key(&self, key: &ApiKeyRecord) -> bool {
        let KeyLine { line: due, choice, rate } = KeyLine::from(key);
        self.session(due.id).is_some_and(|line| {
            let SessionLine { selection, .. } = due;
            line.seen >= due.seen && SessionLine { seen: due.seen, selection, ..line } == due
        }) && self.choice_of(due.id).as_deref() == choice.as_ref()
            && self.rates.get(due.id.get()).and_then(|bucket| bucket.limit) == rate
    }
}

/// How much of a limit is used up: the generic cell rate algorithm of ITU-T I.371, in one word.
#[derive(Debug)]
pub(super) struct Bucket {
    /// None where the limit was lifted.
    limit: Option<RateLimit>,
    /// When the next request would be due if they came evenly, in nanoseconds since 1970.
    next: AtomicU64,
}

impl Bucket {
    const fn new(limit: Option<RateLimit>) -> Self {
        Self { limit, next: AtomicU64::new(0) }
    }

    fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let now = now.as_millis().saturating_mul(1_000_000);
        let (interval, tolerance) = (limit.interval_nanos(), limit.tolerance_nanos());
        let early = |next: u64| next.saturating_sub(now).saturating_sub(tolerance);
        let taken = self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (early(next) == 0).then(|| next.max(now).saturating_add(interval))
        });
        taken.map(drop).map_err(|next| Duration::from_nanos(early(next)))
    }
}

/// The limits of those keys that have one. They are in memory only: after a restart each begins with a full burst.
#[derive(Debug)]
pub(super) struct Rates {
    shards: [RwLock<HashMap<u64, Arc<Bucket>>>; SHARDS],
}

impl Default for Rates {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl Rates {
    fn get(&self, key: u64) -> Option<Arc<Bucket>> {
        self.shard(key).read().get(&key).cloned()
    }

    /// The same limit as before goes on where it stood.
    fn put(&self, key: u64, limit: Option<RateLimit>) {
        let former = self.shard(key).read().get(&key).map(|bucket| bucket.limit);
        let stays = match former {
            None => limit.is_none(),
            Some(former) => former == limit,
        };
        if !stays {
            self.shard(key).write().insert(key, Arc::new(Bucket::new(limit)));
        }
    }

    fn remove(&self, key: u64) {
        let shard = self.shard(key);
        if shard.read().contains_key(&key) {
            shard.write().remove(&key);
        }
    }

    /// Ids are random in every bit but one.
    fn shard(&self, key: u64) -> &RwLock<HashMap<u64, Arc<Bucket>>> {
        self.shards.get((key >> 8) as usize % SHARDS).unwrap_or(&self.shards[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_one_an_interval() {
        let limit = RateLimit::new(2, Duration::from_secs(1)).unwrap().burst(3).unwrap();
        let (bucket, at) = (Bucket::new(Some(limit)), Timestamp::from_millis);
        let start = 1_800_000_000_000;
        for _ in 0..3 {
            assert_eq!(bucket.take(at(start)), Ok(()));
        }
        assert_eq!(bucket.take(at(start)), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(at(start + 499)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(at(start + 500)), Ok(()));
        assert_eq!(bucket.take(at(start + 500)), Err(Duration::from_millis(500)));
        // What is refused takes nothing, and a long pause gives the burst back and no more.
        let later = start + 1_000_000;
        assert_eq!((0..9).filter(|_| bucket.take(at(later)).is_ok()).count(), 3);
    }

    #[test]
    fn threads_share_a_bucket_exactly() {
        let limit = RateLimit::new(1, Duration::from_secs(3600)).unwrap().burst(500).unwrap();
        let (bucket, now) = (Bucket::new(Some(limit)), Timestamp::from_millis(1_800_000_000_000));
        let taken = std::thread::scope(|scope| {
            let take = || (0..300).filter(|_| bucket.take(now).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 500);
    }
}
