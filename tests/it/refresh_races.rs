//! Refreshing by many at once, and over a storage that fails in between.

use crate::refresh::{client, grace, no, open, reuses, texts};
use crate::support::{Disk, PASSWORD, all, is_live, sound, user, world_with};
use portcullis::testing::FaultPoint;
use portcullis::{Credentials, ErrorKind, Portcullis};
use proptest::prelude::*;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

const THREADS: usize = 32;

/// What each of many threads gets that present one token together, on either backend.
fn together(seconds: u64, judge: impl Fn(&Portcullis, (String, String), Vec<(String, String)>)) {
    let (world, disk) = (world_with(grace(seconds)), Disk::new());
    for gate in [world.gate, disk.open_with(grace(seconds)).unwrap()] {
        user(&gate, "ada");
        let first = texts(&open(&gate, "ada", &client()));
        let barrier = Barrier::new(THREADS);
        let present = || {
            barrier.wait();
            match gate.refresh(&first.1, &client()) {
                Ok(login) => {
                    let pair = texts(&login);
                    // Whoever gets it can use it at once, if nobody ends the session meanwhile.
                    assert!(seconds == 0 || is_live(&gate, &pair.0));
                    Some(pair)
                }
                Err(error) => {
                    no(Err(error));
                    None
                }
            }
        };
        let answers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(present)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        judge(&gate, first, answers);
        sound(&gate);
    }
}

#[test]
fn r4_of_many_at_once_one_succeeds_without_a_grace_and_the_family_dies() {
    together(0, |gate, first, pairs| {
        assert_eq!(pairs.len(), 1);
        assert!(!is_live(gate, &first.0) && !is_live(gate, &pairs[0].0));
        no(gate.refresh(&pairs[0].1, &client()));
        assert_eq!(reuses(gate), 1);
    });
}

#[test]
fn r4_of_many_at_once_all_get_the_same_within_a_grace() {
    together(10, |gate, first, pairs| {
        assert_eq!(pairs.len(), THREADS);
        assert!(pairs.iter().all(|pair| *pair == pairs[0]));
        assert!(!is_live(gate, &first.0) && is_live(gate, &pairs[0].0));
        assert!(gate.refresh(&pairs[0].1, &client()).is_ok());
        assert_eq!(reuses(gate), 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Tabs of one browser share what they keep, and each refreshes when it finds its token refused: by what it read then,
    /// however late it comes within the grace.
    #[test]
    fn tabs_that_share_a_jar_are_never_logged_out(tabs in 2usize..7, delays in proptest::collection::vec(0u64..900, 16..64)) {
        let world = world_with(grace(10));
        world.user("ada");
        let (gate, clock) = (&world.gate, &world.clock);
        let login = open(gate, "ada", &client());
        let id = login.session().id;
        let jar = Mutex::new(texts(&login));
        for round in 0..10 {
            // All tokens have run out, and no tab has noticed.
            world.after(61);
            let barrier = Barrier::new(tabs);
            std::thread::scope(|scope| {
                for tab in 0..tabs {
                    let (jar, barrier, delays) = (&jar, &barrier, &delays);
                    scope.spawn(move || {
                        let delay = |step: usize| {
                            let micros = delays[(round * 7 + tab * 3 + step) % delays.len()];
                            (0..micros / 8).for_each(|_| std::thread::yield_now());
                            // Together not so much as the grace.
                            clock.advance(Duration::from_millis(micros * 3 / 2));
                        };
                        let kept = jar.lock().unwrap().clone();
                        barrier.wait();
                        delay(0);
                        if !is_live(gate, &kept.0) {
                            let pair = texts(&gate.refresh(&kept.1, &client()).expect("the tab is logged out"));
                            assert!(is_live(gate, &pair.0));
                            *jar.lock().unwrap() = pair;
                        }
                        let kept = jar.lock().unwrap().clone();
                        assert!(is_live(gate, &kept.0));
                    });
                }
            });
        }
        prop_assert!(gate.sessions().get(id).is_ok());
        prop_assert_eq!(reuses(gate), 0);
        sound(gate);
    }
}

#[test]
fn r5_a_crash_between_commit_and_answer_leaves_one_usable_successor() {
    for (point, nth) in [(FaultPoint::JournalWrite, 1), (FaultPoint::JournalSync, 1), (FaultPoint::Apply, 1)]
    {
        for late in [false, true] {
            let disk = Disk::new();
            let gate = disk.open_with(grace(10)).unwrap();
            let ada = user(&gate, "ada").id;
            let zero = texts(&open(&gate, "ada", &client()));
            let one = texts(&gate.refresh(&zero.1, &client()).unwrap());
            disk.clock.advance(Duration::from_secs(20));
            disk.faults.fail(point, nth);
            let error = gate.refresh(&one.1, &client()).expect_err("the storage fails");
            assert!(!error.is_denied(), "an outage is no refusal: {error:?}");
            assert_eq!(gate.authenticate(&one.0).unwrap_err().kind(), ErrorKind::Stopped);
            drop(gate);

            let gate = disk.open_with(grace(10)).unwrap();
            disk.clock.advance(Duration::from_secs(if late { 9 } else { 1 }));
            // Whether it was committed or not: the client presents what it has, and goes on.
            let two = texts(&gate.refresh(&one.1, &client()).unwrap());
            assert_eq!(texts(&gate.refresh(&one.1, &client()).unwrap()), two);
            assert!(!is_live(&gate, &one.0) && is_live(&gate, &two.0));
            assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
            assert_eq!(reuses(&gate), 0);
            sound(&gate);
            // And nothing else of the family is good.
            let three = texts(&gate.refresh(&two.1, &client()).unwrap());
            no(gate.refresh(&zero.1, &client()));
            assert!(!is_live(&gate, &three.0) && reuses(&gate) == 1);
        }
    }
}

#[test]
fn r5_the_same_successor_comes_out_of_a_database_that_was_opened_again() {
    let disk = Disk::new();
    let gate = disk.open_with(grace(10)).unwrap();
    user(&gate, "ada");
    let zero = texts(&open(&gate, "ada", &client()));
    let one = texts(&gate.refresh(&zero.1, &client()).unwrap());
    gate.close().unwrap();
    drop(gate);
    let gate = disk.open_with(grace(10)).unwrap();
    assert!(is_live(&gate, &one.0) && !is_live(&gate, &zero.0));
    assert_eq!(texts(&gate.refresh(&zero.1, &client()).unwrap()), one);
    sound(&gate);
}

#[test]
fn r8_a_refresh_and_an_end_at_once_leave_nothing_usable() {
    for round in 0..40 {
        let world = world_with(grace(10));
        let ada = world.user("ada").id;
        let gate = &world.gate;
        let login = gate.login(&Credentials::password("ada", PASSWORD), &client()).unwrap();
        let (first, barrier) = (texts(&login), Barrier::new(2));
        let refreshed = std::thread::scope(|scope| {
            let refreshed = scope.spawn(|| {
                barrier.wait();
                gate.refresh(&first.1, &client()).ok().map(|login| texts(&login))
            });
            barrier.wait();
            match round % 4 {
                0 => gate.sessions().revoke(login.session().id).unwrap(),
                1 => gate.sessions().revoke_all(ada).unwrap(),
                2 => gate.sessions().revoke_everything().unwrap(),
                _ => gate.users().delete(ada).unwrap(),
            }
            refreshed.join().unwrap()
        });
        for pair in refreshed.into_iter().chain([first]) {
            assert!(!is_live(gate, &pair.0));
            no(gate.refresh(&pair.1, &client()));
        }
        assert_eq!(reuses(gate), 0);
        sound(gate);
    }
}
