//! One time for the whole engine: it follows the clock, and never goes back when the clock does.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{Scan, Store};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the clock may run ahead of the last reading that was written down. A jump back is noticed to within this,
/// so the time can go back by so much at most.
pub(super) const STEP_MILLIS: u64 = 1000;

/// Turns readings of the clock into times that go on.
///
/// When the clock jumps back, what it lost is added to every later reading: time goes on from where it stood, at the
/// clock's pace. So a jump in either direction can end a life early and lengthens none. Times stay ahead of the clock
/// until it catches up with them, also over a restart, because a database is never opened at a time before its newest
/// audit record.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The latest reading, to within a step; written once a second at most, so that readers do not fight for the line.
    last: AtomicU64,
    ahead: AtomicU64,
    jumps: Mutex<()>,
}

impl Timeline {
    pub(super) fn starting(clock: Timestamp, latest: Timestamp) -> Self {
        let ahead = latest.as_millis().saturating_sub(clock.as_millis());
        Self { last: AtomicU64::new(clock.as_millis()), ahead: AtomicU64::new(ahead), jumps: Mutex::new(()) }
    }

    /// The time at a reading of the clock, which is read again where the first reading may have been late to come here.
    pub(super) fn at(&self, clock: impl Fn() -> Timestamp) -> Timestamp {
        let reading = clock().as_millis();
        // INVARIANT: `last` is read before `ahead` and written after it, so that whoever sees the lower reading after a
        // jump sees what was added for it.
        let last = self.last.load(Ordering::Acquire);
        if reading < last {
            return self.after_jump(clock);
        }
        if reading - last > STEP_MILLIS {
            // A failure means that somebody else wrote it down, or that the clock has jumped back since.
            let _ = self.last.compare_exchange(last, reading, Ordering::AcqRel, Ordering::Relaxed);
        }
        Timestamp::from_millis(reading.saturating_add(self.ahead.load(Ordering::Acquire)))
    }

    #[cold]
    fn after_jump(&self, clock: impl Fn() -> Timestamp) -> Timestamp {
        let _one = self.jumps.lock();
        let last = self.last.load(Ordering::Acquire);
        // After `last`: a thread that was put to sleep with its reading has lost nothing, and only a clock that says an
        // earlier time now was set back.
        let reading = clock().as_millis();
        let lost = last.saturating_sub(reading);
        let ahead = self.ahead.load(Ordering::Acquire).saturating_add(lost);
        self.ahead.store(ahead, Ordering::Release);
        self.last.store(last - lost, Ordering::Release);
        Timestamp::from_millis(reading.saturating_add(ahead))
    }
}

/// When the newest audit record was written.
pub(super) fn latest_record(store: &dyn Store) -> Result<Timestamp> {
    let scan = Scan { prefix: &[], after: None, limit: 1, descending: true };
    let rows = store.scan(crate::audit::AUDIT, &scan)?;
    rows.first().map_or(Ok(Timestamp::from_millis(0)), |row| {
        crate::audit::decode(&row.key, &row.value).map(|(record, _)| record.time)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: &Timeline, secs: u64) -> u64 {
        timeline.at(|| Timestamp::from_millis(secs * 1000)).as_secs()
    }

    #[test]
    fn goes_on_at_the_clocks_pace_after_a_jump_back() {
        let timeline = Timeline::starting(Timestamp::from_millis(100_000), Timestamp::from_millis(0));
        assert_eq!(at(&timeline, 110), 110);
        assert_eq!(at(&timeline, 5000), 5000, "a jump forward is believed");
        assert_eq!(at(&timeline, 111), 5000, "a jump back is not");
        assert_eq!(at(&timeline, 211), 5100, "and time goes on");
        assert_eq!(at(&timeline, 11), 5100);
        assert_eq!(at(&timeline, 12), 5101);
    }

    #[test]
    fn starts_no_earlier_than_the_newest_record() {
        let timeline = Timeline::starting(Timestamp::from_millis(100_000), Timestamp::from_millis(900_000));
        assert_eq!((at(&timeline, 100), at(&timeline, 160)), (900, 960));
    }

    #[test]
    fn threads_that_meet_a_jump_add_it_once() {
        for _ in 0..200 {
            let timeline = Timeline::starting(Timestamp::from_millis(9_000_000), Timestamp::from_millis(0));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert_eq!(at(&timeline, 1000), 9000));
                }
            });
            assert_eq!(at(&timeline, 1000), 9000);
        }
    }

    #[test]
    fn a_reading_that_comes_late_is_no_jump() {
        let timeline = Timeline::starting(Timestamp::from_millis(100_000), Timestamp::from_millis(0));
        // Read before others had seen the clock at 200 seconds, and used after that.
        let first = std::cell::Cell::new(true);
        let late = || {
            if first.replace(false) {
                assert_eq!(at(&timeline, 200), 200);
                return Timestamp::from_millis(150_000);
            }
            Timestamp::from_millis(200_000)
        };
        assert_eq!(timeline.at(late).as_secs(), 200);
        assert_eq!(at(&timeline, 201), 201, "nothing was added");
    }
}
