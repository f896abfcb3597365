//! Tasks that wait at a gate without a thread, polled by hand.

use super::super::{Entering, Gate, Limits, Source, trial};
use super::{LONG, at_rest, from, gate};
use crate::error::{ErrorKind, Result};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll(task: Pin<&mut Entering>, woken: &Arc<Woken>) -> Poll<Result<super::super::Permit>> {
    task.poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
}

#[test]
fn a_task_is_woken_when_its_turn_comes() {
    let gate = gate(1, 4, LONG);
    let (one, two) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    let held = gate.enter(from(1), 0).unwrap();
    let mut task = pin!(gate.entering(from(1), 8));
    assert!(poll(task.as_mut(), &one).is_pending());
    assert!(poll(task.as_mut(), &two).is_pending());
    drop(held);
    assert_eq!((one.0.load(SeqCst), two.0.load(SeqCst)), (0, 1), "the waker of the last poll counts");
    let Poll::Ready(Ok(permit)) = poll(task.as_mut(), &two) else { panic!("it was admitted") };
    drop(permit);
    at_rest(&gate, 2);
}

#[test]
fn a_dropped_task_leaves_the_queue_and_what_it_was_given() {
    let gate = gate(1, 4, LONG);
    let woken = Arc::<Woken>::default();
    drop(gate.entering(from(1), 0));
    at_rest(&gate, 0);
    let held = gate.enter(from(1), 0).unwrap();
    let mut behind = pin!(gate.entering(from(3), 0));
    {
        let (mut waits, mut granted) = (pin!(gate.entering(from(1), 0)), pin!(gate.entering(from(2), 0)));
        assert!(poll(waits.as_mut(), &woken).is_pending());
        assert!(poll(granted.as_mut(), &woken).is_pending());
        assert!(poll(behind.as_mut(), &woken).is_pending());
        drop(held);
        // The first in line has the permit now, and never asks for it.
        assert_eq!((gate.figures().running, gate.figures().waiting, woken.0.load(SeqCst)), (1, 2, 1));
    }
    let Poll::Ready(Ok(permit)) = poll(behind.as_mut(), &woken) else { panic!("it is the only one left") };
    drop(permit);
    at_rest(&gate, 4);
    assert_eq!(gate.figures().abandoned, 1);
}

#[test]
fn who_waited_too_long_hears_when_something_happens() {
    let gate = gate(1, 1, Duration::from_millis(1));
    let woken = Arc::<Woken>::default();
    let held = gate.enter(from(1), 0).unwrap();
    let mut task = pin!(gate.entering(from(1), 0));
    assert!(poll(task.as_mut(), &woken).is_pending());
    std::thread::park_timeout(Duration::from_millis(5));
    // The place in the queue is free again for whoever comes now, and runs out of patience itself.
    assert_eq!(gate.enter(from(1), 0).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(
        matches!(poll(task.as_mut(), &woken), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Busy)
    );
    drop(held);
    at_rest(&gate, 3);
    assert_eq!(gate.figures().timed_out, 2);
}

#[test]
fn a_thread_with_a_permit_computes_all_its_hashes_on_it() {
    let gate = gate(1, 0, LONG);
    let other = super::gate(1, 0, LONG);
    let blocks =
        |gate: &Arc<Gate>, blocks| gate.admit(Source::Unknown, blocks, |permit| permit.memory(blocks).len());
    gate.enter(from(1), 8).unwrap().during(|| {
        for _ in 0..3 {
            assert_eq!(blocks(&gate, 4).unwrap(), 4);
        }
        assert_eq!(gate.figures().running, 1, "held over the whole call");
        assert_eq!(blocks(&other, 4).unwrap(), 4, "another gate is another matter");
        assert_eq!(blocks(&gate, 32).unwrap(), 32, "changed for one with more memory");
        assert_eq!(blocks(&gate, 65).unwrap_err().kind(), ErrorKind::LimitExceeded);
    });
    at_rest(&gate, 1);
    let call = || gate.enter(from(1), 8).unwrap().during(|| panic!("in the call"));
    assert!(std::panic::catch_unwind(AssertUnwindSafe(call)).is_err());
    assert!(blocks(&gate, 8).is_ok(), "nothing is held on this thread any more");
}

#[test]
fn a_call_on_trial_waits_for_nothing_and_is_done_once() {
    let gate = gate(1, 4, LONG);
    let hash = || gate.admit(from(1), 8, |_| "computed");
    // Also where a permit is free: nothing is computed by a thread that has not been admitted.
    assert!(trial::without_waiting(hash).is_none());
    at_rest(&gate, 0);
    // What can never run, and what is done without a hash, is said at once.
    let never = trial::without_waiting(|| gate.admit(from(1), 65, |_| ()));
    assert_eq!(never.unwrap().unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(trial::without_waiting(|| Ok(7)).unwrap().unwrap(), 7);
    let other = trial::without_waiting(|| {
        let busy = hash().unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        Result::<()>::Err(crate::error::Error::stopped("something else"))
    });
    assert_eq!(other.unwrap().unwrap_err().kind(), ErrorKind::Stopped);
    // One that does without the hash is done, and so is one that has committed something: it waits as a thread.
    assert!(trial::without_waiting(|| Ok(hash().is_err())).unwrap().unwrap());
    let committed = trial::without_waiting(|| {
        trial::commits();
        hash()
    });
    assert_eq!(committed.unwrap().unwrap(), "computed");
    let lost = trial::without_waiting(|| {
        let turned_back = hash();
        trial::commits();
        turned_back
    });
    assert_eq!(lost.unwrap().unwrap_err().kind(), ErrorKind::Busy, "it is never run again");
    assert!(
        std::panic::catch_unwind(AssertUnwindSafe(|| trial::without_waiting(|| -> Result<()> { panic!() })))
            .is_err()
    );
    assert_eq!(hash().unwrap(), "computed", "nobody is on trial any more");
    at_rest(&gate, 2);
}

/// Those who want more memory than they were let in with wait before all others, and hold nothing meanwhile.
#[test]
fn permits_are_exchanged_for_larger_ones_without_a_deadlock() {
    let gate = gate(4, 64, LONG);
    std::thread::scope(|scope| {
        for thread in 0..12_u8 {
            let gate = &gate;
            scope.spawn(move || {
                for _ in 0..50 {
                    gate.enter(from(thread % 3), 16).unwrap().during(|| {
                        let more = 20 + usize::from(thread) * 4;
                        assert_eq!(
                            gate.admit(Source::Unknown, more, |permit| permit.memory(more).len()).unwrap(),
                            more
                        );
                    });
                }
            });
        }
    });
    at_rest(&gate, 12 * 50);
}

/// The one whom all others wait behind, for more memory than there is, goes away: the next one need not wait for a hash
/// to finish.
#[test]
fn who_goes_away_lets_those_behind_run() {
    let woken = Arc::<Woken>::default();
    let gate = gate(2, 4, LONG);
    let held = gate.enter(from(1), 60).unwrap();
    let mut large = Box::pin(gate.entering(from(2), 32));
    let mut small = pin!(gate.entering(from(3), 4));
    assert!(poll(large.as_mut(), &woken).is_pending());
    assert!(poll(small.as_mut(), &woken).is_pending());
    drop(large);
    let Poll::Ready(Ok(permit)) = poll(small.as_mut(), &woken) else { panic!("there is room for it") };
    drop((permit, held));
    at_rest(&gate, 3);
}

#[test]
fn who_is_displaced_lets_those_behind_run() {
    let woken = Arc::<Woken>::default();
    let gate = gate(2, 2, LONG);
    let held = gate.enter(from(1), 60).unwrap();
    let (mut large, mut medium) = (pin!(gate.entering(from(2), 32)), pin!(gate.entering(from(2), 3)));
    assert!(poll(large.as_mut(), &woken).is_pending());
    assert!(poll(medium.as_mut(), &woken).is_pending());
    let mut small = pin!(gate.entering(from(3), 1));
    assert!(poll(small.as_mut(), &woken).is_pending());
    assert!(
        matches!(poll(large.as_mut(), &woken), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Busy)
    );
    let Poll::Ready(Ok(permit)) = poll(medium.as_mut(), &woken) else { panic!("there is room for it") };
    assert!(poll(small.as_mut(), &woken).is_pending(), "two run");
    drop((permit, held));
    assert!(matches!(poll(small.as_mut(), &woken), Poll::Ready(Ok(_))));
    at_rest(&gate, 4);
}

/// Wakes the thread that polls.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Tasks that are awaited to the end, and tasks that are dropped after a moment, among threads that wait.
#[test]
fn tasks_that_are_dropped_at_any_moment_leak_nothing() {
    const ROUNDS: usize = 300;
    for patience in [Duration::from_micros(80), LONG] {
        let gate = Gate::new(Limits { hashes: 2, queue: 6, share: 4, blocks: 20, patience });
        std::thread::scope(|scope| {
            for thread in 0..9_u8 {
                let gate = &gate;
                scope.spawn(move || {
                    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                    for round in 0..ROUNDS {
                        let blocks = 1 + (usize::from(thread) * 5 + round) % 20;
                        if thread % 3 == 0 {
                            let _ = gate.admit(from(thread % 2), blocks, |_| std::thread::yield_now());
                            continue;
                        }
                        let mut task = pin!(gate.entering(from(thread % 4), blocks));
                        let mut polls = 0;
                        while task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                            polls += 1;
                            // Every second task is dropped while it waits; the others are woken, whatever the answer.
                            if thread % 3 == 1 && polls > round % 3 {
                                break;
                            }
                            std::thread::park_timeout(Duration::from_secs(30));
                        }
                    }
                });
            }
        });
        at_rest(&gate, 9 * ROUNDS as u64);
    }
}

/// One waits for the memory that the other one has, which then asks for more itself: nobody runs at that moment, so that
/// nobody's end would wake the first.
#[test]
fn who_asks_for_more_makes_room_for_who_did_before() {
    let gate = gate(2, 0, LONG);
    let (one, two) = (gate.enter(from(1), 16).unwrap(), gate.enter(from(2), 16).unwrap());
    let more = |blocks| gate.admit(Source::Unknown, blocks, |permit| permit.memory(blocks).len()).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| one.during(|| more(60)));
        super::until_waiting(&gate, 1);
        let second = scope.spawn(|| two.during(|| more(50)));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (60, 50));
    });
    at_rest(&gate, 2);
    assert!(gate.figures().longest_wait < LONG);
}
