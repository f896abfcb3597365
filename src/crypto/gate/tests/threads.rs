//! Threads that meet at a gate.

use super::super::{Gate, Limits, Permit, Source};
use super::{LONG, at_rest, from, gate, until_waiting};
use crate::error::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn refuses_beyond_the_queue_and_admits_again() {
    let gate = gate(1, 0, LONG);
    let mut held = gate.enter(Source::Unknown, 8).unwrap();
    assert_eq!(held.memory(8).len(), 8);
    let error = gate.enter(Source::Unknown, 8).unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Busy, Some(Duration::from_secs(1))));
    drop(held);
    let again = gate.enter(Source::Unknown, 8).unwrap();
    assert_eq!(again.memory.len(), 8, "memory is used again");
    drop(again);
    at_rest(&gate, 3);
    assert_eq!(gate.figures().bytes, 8 * 1024);
}

#[test]
fn a_waiter_gives_up_after_its_patience() {
    let gate = gate(1, 1, Duration::from_millis(1));
    let held = gate.enter(Source::Unknown, 0).unwrap();
    assert_eq!(gate.enter(Source::Unknown, 0).unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    at_rest(&gate, 2);
    assert_eq!(gate.figures().timed_out, 1);
}

#[test]
fn a_hash_larger_than_the_whole_budget_is_refused_by_name() {
    let gate = gate(1, 1, LONG);
    let error = gate.enter(Source::Unknown, 65).unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::LimitExceeded, Some("admission_memory")));
    at_rest(&gate, 0);
}

#[test]
fn memory_is_counted_beside_permits() {
    let gate = gate(4, 4, LONG);
    let (large, small) = (gate.enter(from(1), 60).unwrap(), gate.enter(from(2), 4).unwrap());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| gate.enter(from(3), 32).unwrap());
        until_waiting(&gate, 1);
        let behind = scope.spawn(|| gate.enter(from(4), 1).unwrap());
        until_waiting(&gate, 2);
        drop(small);
        assert_eq!(gate.figures().waiting, 2, "four blocks are free, and who comes later does not overtake");
        drop(large);
        drop((waiter.join().unwrap(), behind.join().unwrap()));
    });
    at_rest(&gate, 4);
}

#[test]
fn who_gives_up_lets_those_behind_run() {
    let gate = gate(2, 4, Duration::from_millis(1500));
    let held = gate.enter(from(1), 60).unwrap();
    std::thread::scope(|scope| {
        let large = scope.spawn(|| gate.enter(from(2), 32).map(drop));
        until_waiting(&gate, 1);
        std::thread::park_timeout(Duration::from_millis(500));
        let small = scope.spawn(|| gate.enter(from(3), 1).map(drop));
        assert_eq!(large.join().unwrap().unwrap_err().kind(), ErrorKind::Busy);
        assert!(small.join().unwrap().is_ok(), "nothing was in its way any more");
    });
    drop(held);
    at_rest(&gate, 3);
}

#[test]
fn the_displaced_hears_at_once() {
    let gate =
        Gate::new(Limits { hashes: 1, queue: 2, share: 2, blocks: 64, patience: Duration::from_secs(600) });
    let held = gate.enter(from(1), 0).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gate.enter(from(1), 0).map(drop));
        until_waiting(&gate, 1);
        let second = scope.spawn(|| gate.enter(from(1), 0).map(drop));
        until_waiting(&gate, 2);
        let other = scope.spawn(|| gate.enter(from(2), 0).map(drop));
        assert_eq!(first.join().unwrap().unwrap_err().kind(), ErrorKind::Busy);
        drop(held);
        assert!(second.join().unwrap().is_ok() && other.join().unwrap().is_ok());
    });
    at_rest(&gate, 4);
    assert_eq!(gate.figures().displaced, 1);
}

#[test]
fn a_panic_inside_a_hash_gives_the_permit_back() {
    let gate = gate(1, 0, LONG);
    for _ in 0..3 {
        let hash = || gate.admit(Source::Unknown, 8, |_| panic!("in the hash")).unwrap();
        assert!(std::panic::catch_unwind(AssertUnwindSafe(hash)).is_err());
    }
    at_rest(&gate, 3);
    assert!(gate.admit(Source::Unknown, 8, |permit| permit.memory(8).len()).is_ok());
}

/// Permits, queue and patience so tight that all answers meet: grants, refusals, displacements and time-outs.
#[test]
fn permits_and_memory_are_never_exceeded_and_nobody_is_forgotten() {
    const ROUNDS: usize = 400;
    for patience in [Duration::from_micros(50), Duration::from_millis(2), LONG] {
        let gate = Gate::new(Limits { hashes: 2, queue: 5, share: 3, blocks: 20, patience });
        let (running, most, lent, most_lent, served) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        std::thread::scope(|scope| {
            for thread in 0..12_u8 {
                let (gate, running, most) = (&gate, &running, &most);
                let (lent, most_lent, served) = (&lent, &most_lent, &served);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let blocks = 1 + (usize::from(thread) * 7 + round) % 19;
                        let done = gate.admit(from(thread % 4), blocks, |permit| {
                            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                            most_lent.fetch_max(lent.fetch_add(blocks, SeqCst) + blocks, SeqCst);
                            assert_eq!(permit.memory(blocks).len(), blocks);
                            std::thread::yield_now();
                            lent.fetch_sub(blocks, SeqCst);
                            running.fetch_sub(1, SeqCst);
                        });
                        match done {
                            Ok(()) => {
                                served.fetch_add(1, SeqCst);
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Busy),
                        }
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 2 && most_lent.load(SeqCst) <= 20);
        at_rest(&gate, 12 * ROUNDS as u64);
        assert_eq!(gate.figures().admitted, served.load(SeqCst) as u64);
    }
}

/// What a hash allocates by itself, in the place of the memory that is lent, is bounded just as that is; and what is kept
/// afterwards is counted as it is, also where it is less than the permit was for.
#[test]
fn what_is_allocated_beside_the_gate_is_within_the_budget_too() {
    const ROUNDS: usize = 200;
    let gate = Gate::new(Limits { hashes: 4, queue: 64, share: 64, blocks: 64, patience: LONG });
    let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let during = |blocks: usize, what: &mut dyn FnMut()| {
        most.fetch_max(held.fetch_add(blocks, SeqCst) + blocks, SeqCst);
        what();
        held.fetch_sub(blocks, SeqCst);
    };
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (gate, during) = (&gate, &during);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let foreign = [0, 3, 20, 60][(usize::from(thread) + round) % 4];
                    let own = 8;
                    gate.admit(from(thread), foreign.max(own), |permit| {
                        if foreign > 0 {
                            permit.free_memory();
                            assert!(permit.memory.is_empty());
                            during(foreign, &mut std::thread::yield_now);
                        }
                        during(own, &mut || assert_eq!(permit.memory(own).len(), own));
                        assert_eq!(permit.memory.len(), own, "no more than it asked for");
                    })
                    .unwrap();
                    let seen = gate.figures();
                    assert!(seen.bytes <= seen.most_bytes, "{seen:?}");
                }
            });
        }
    });
    assert!(most.load(SeqCst) <= 64, "{most:?}");
    at_rest(&gate, 8 * ROUNDS as u64);
    assert!(gate.figures().peak_bytes >= 60 << 10);
    assert!(gate.figures().bytes <= 4 * (8 << 10), "four are kept at most");
}

/// Small ones that never cease, and large ones that need nearly all there is: each large one runs when those are done who
/// ran or waited before it.
#[test]
fn a_large_one_is_not_starved_by_small_ones() {
    let gate = Gate::new(Limits { hashes: 4, queue: 64, share: 64, blocks: 64, patience: LONG });
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (gate, done, served) = (&gate, &done, &served);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    gate.admit(from(thread), 4, |permit| permit.memory(4).len()).unwrap();
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..50 {
            // Until small ones meet it.
            let before = served.load(SeqCst);
            while served.load(SeqCst) < before + 8 {
                std::thread::yield_now();
            }
            gate.admit(from(100), 62, Permit::free_memory).unwrap();
        }
        done.store(true, SeqCst);
    });
    at_rest(&gate, 50 + served.load(SeqCst) as u64);
    let seen = gate.figures();
    assert_eq!(seen.timed_out, 0);
    assert!(seen.longest_wait < Duration::from_secs(10), "{seen:?}");
}

/// A permit that is free is taken: a flood of one source does not make another one wait for more than one turn.
#[test]
fn a_bulk_of_one_source_leaves_every_second_turn_to_another() {
    let gate = gate(1, 64, LONG);
    let (done, order) = mpsc::channel();
    let held = gate.enter(from(1), 0).unwrap();
    std::thread::scope(|scope| {
        for round in 0..8 {
            let done = done.clone();
            scope.spawn({
                let gate = &gate;
                move || gate.admit(Source::Administration, 0, |_| done.send("bulk").unwrap()).unwrap()
            });
            until_waiting(&gate, round + 1);
        }
        for round in 0..3 {
            let done = done.clone();
            scope.spawn({
                let gate = &gate;
                move || gate.admit(Source::Unknown, 0, |_| done.send("login").unwrap()).unwrap()
            });
            until_waiting(&gate, 9 + round);
        }
        drop(held);
    });
    let order: Vec<&str> = order.try_iter().collect();
    assert_eq!(order[..6], ["bulk", "login", "bulk", "login", "bulk", "login"]);
    at_rest(&gate, 12);
    assert_eq!(gate.figures().peak_waiting, 11);
}
