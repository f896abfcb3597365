//! Attempts that have been admitted and whose end is not written down yet.

use crate::clock;
use crate::crypto::trial;
use crate::error::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::Duration;

/// What is under way, by what it is counted as. As large as there are attempts under way.
#[derive(Debug)]
pub(super) struct Flights {
    state: Mutex<State>,
    landed: Condvar,
    queue: usize,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<u64, u32>,
    waiting: usize,
}

/// One attempt under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    keys: [u64; 2],
}

/// What an attempt that would like to begin is told.
pub(super) enum Turn<S> {
    Go,
    /// Until another one has ended.
    Wait,
    Stay(S),
}

impl Flights {
    pub(super) fn new(queue: usize, patience: Duration) -> Self {
        Self { state: Mutex::default(), landed: Condvar::new(), queue, patience }
    }

    /// Begins an attempt when `turn` lets it, which is asked with how many are under way under each key, and again after
    /// any of them has ended. 0 is no key.
    ///
    /// `turn` runs under the lock, so that two can not both take the last free place; it may read the store, and nothing
    /// that commits waits for this lock.
    pub(super) fn take_off<S>(
        &self,
        own: u64,
        from: u64,
        mut turn: impl FnMut(u32, u32) -> Result<Turn<S>>,
    ) -> Result<std::result::Result<Flight<'_>, S>> {
        let mut state = self.state.lock();
        let mut end = None;
        loop {
            let others = |key: u64| state.counts.get(&key).copied().unwrap_or(0);
            match turn(others(own), others(from))? {
                Turn::Stay(why) => return Ok(Err(why)),
                Turn::Go => {
                    let keys = [own, from];
                    for key in keys.iter().filter(|key| **key != 0) {
                        *state.counts.entry(*key).or_insert(0) += 1;
                    }
                    return Ok(Ok(Flight { flights: self, keys }));
                }
                Turn::Wait if trial::turns_back() => {
                    return Err(busy(
                        "other attempts at the same account or from the same source are under way",
                    ));
                }
                Turn::Wait => {}
            }
            let end = *end.get_or_insert_with(|| clock::stopwatch() + self.patience);
            if state.waiting >= self.queue {
                return Err(busy(
                    "the queue of attempts at the same account or from the same source is full",
                ));
            }
            state.waiting += 1;
            let timed_out = self.landed.wait_until(&mut state, end).timed_out();
            state.waiting -= 1;
            if timed_out {
                return Err(busy("other attempts at the same account or from the same source take too long"));
            }
        }
    }
}

fn busy(what: &str) -> Error {
    Error::busy(format!("{what}; try again later"), Duration::from_secs(1))
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.flights.state.lock();
        for key in self.keys.iter().filter(|key| **key != 0) {
            if let Some(count) = state.counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    state.counts.remove(key);
                }
            }
        }
        if state.waiting > 0 {
            self.flights.landed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn one_at_a_time(others: u32, _: u32) -> Result<Turn<()>> {
        Ok(if others == 0 { Turn::Go } else { Turn::Wait })
    }

    #[test]
    fn those_who_wait_go_on_when_another_one_has_ended() {
        let flights = Flights::new(8, Duration::from_secs(60));
        let first = flights.take_off(7, 0, one_at_a_time).unwrap().unwrap();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| drop(flights.take_off(7, 0, one_at_a_time).unwrap().unwrap())))
                .collect();
            while flights.state.lock().waiting < 4 {
                std::thread::yield_now();
            }
            drop(flights.take_off(8, 0, one_at_a_time).unwrap().unwrap());
            drop(first);
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
        assert!(flights.state.lock().counts.is_empty());
    }

    #[test]
    fn waiting_has_an_end_and_so_has_the_queue() {
        let flights = Flights::new(1, Duration::from_millis(1));
        let _first = flights.take_off(7, 9, one_at_a_time).unwrap().unwrap();
        assert_eq!(flights.take_off(7, 9, one_at_a_time).unwrap_err().kind(), ErrorKind::Busy);
        let none = Flights::new(0, Duration::from_secs(60));
        let _first = none.take_off(7, 9, one_at_a_time).unwrap().unwrap();
        assert_eq!(none.take_off(7, 9, one_at_a_time).unwrap_err().kind(), ErrorKind::Busy);
        assert!(none.take_off(7, 9, |_, _| Ok(Turn::Stay(3))).unwrap().is_err_and(|why| why == 3));
    }
}
