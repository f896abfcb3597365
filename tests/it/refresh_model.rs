//! Random sequences of refreshes, uses, repetitions and reuses, against a model that keeps every token it was given.

use crate::refresh::{client, grace, no, open, reuses, texts};
use crate::support::{is_live, sound, world_with};
use portcullis::{RefreshPolicy, SessionLimits};
use proptest::prelude::*;
use std::time::Duration;

const ACCESS: u64 = 60;
const IDLE: u64 = 300;
const ABSOLUTE: u64 = 1500;
const GRACE: u64 = 10;

#[derive(Clone, Debug)]
enum Op {
    /// Presents the token that is so many before the last.
    Refresh(usize),
    Use(usize),
    Wait(u64),
    Maintain,
    /// Presents a token of the other family.
    Other,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop_oneof![6 => Just(0usize), 4 => Just(1), 1 => 2usize..5].prop_map(Op::Refresh),
        3 => (0usize..3).prop_map(Op::Use),
        6 => prop_oneof![Just(1u64), Just(4), Just(9), Just(10), Just(59), Just(60), 1u64..320].prop_map(Op::Wait),
        1 => Just(Op::Maintain),
        1 => Just(Op::Other),
    ]
}

/// What a naive server would keep: all tokens, in clear, for ever.
struct Naive {
    pairs: Vec<(String, String)>,
    /// When the last pair was given out.
    rotated: u64,
    seen: u64,
    dead: bool,
    reuses: usize,
}

impl Naive {
    fn over(&self, now: u64) -> bool {
        self.dead || now >= ABSOLUTE || now >= self.seen + IDLE
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn refreshing_is_as_a_server_would_have_it_that_forgets_nothing(ops in proptest::collection::vec(op(), 1..60)) {
        let second = Duration::from_secs;
        let limits = SessionLimits::new(Some(second(IDLE)), second(ABSOLUTE)).unwrap();
        let policy = RefreshPolicy::new().access_life(second(ACCESS)).grace(second(GRACE)).session_limits(limits);
        let world = world_with(|builder| builder.refresh(policy));
        let gate = &world.gate;
        world.user("ada");
        world.user("eve");
        let login = open(gate, "ada", &client());
        let id = login.session().id;
        let mut other = texts(&open(gate, "eve", &client()));
        let mut naive =
            Naive { pairs: vec![texts(&login)], rotated: 0, seen: 0, dead: false, reuses: 0 };
        let (mut now, mut other_alive, mut other_seen) = (0, true, 0);
        for op in ops {
            let last = naive.pairs.len() - 1;
            match op {
                Op::Wait(seconds) => {
                    world.after(seconds);
                    now += seconds;
                }
                Op::Maintain => drop(gate.maintain(100).unwrap()),
                Op::Refresh(back) => {
                    let which = last.saturating_sub(back);
                    let result = gate.refresh(&naive.pairs[which].1, &client());
                    if naive.over(now) {
                        no(result);
                    } else if which == last {
                        let pair = texts(&result.unwrap());
                        prop_assert!(!naive.pairs.iter().any(|old| old.0 == pair.0 || old.1 == pair.1));
                        naive.pairs.push(pair);
                        (naive.rotated, naive.seen) = (now, now);
                    } else if which + 1 == last && now < naive.rotated + GRACE {
                        prop_assert_eq!(&texts(&result.unwrap()), &naive.pairs[last]);
                    } else {
                        no(result);
                        naive.dead = true;
                        naive.reuses += 1;
                    }
                }
                Op::Use(back) => {
                    let which = last.saturating_sub(back);
                    let due = !naive.dead && which == last && now < (naive.rotated + ACCESS).min(ABSOLUTE);
                    prop_assert_eq!(is_live(gate, &naive.pairs[which].0), due);
                    if due {
                        naive.seen = now;
                    }
                }
                Op::Other => {
                    let result = gate.refresh(&other.1, &client());
                    other_alive &= now < ABSOLUTE && now < other_seen + IDLE;
                    prop_assert_eq!(result.is_ok(), other_alive);
                    if let Ok(pair) = result {
                        (other, other_seen) = (texts(&pair), now);
                    }
                }
            }
            prop_assert_eq!(gate.sessions().get(id).is_ok(), !naive.over(now));
            prop_assert_eq!(reuses(gate), naive.reuses);
        }
        sound(gate);
    }
}

#[test]
fn the_grace_is_over_at_its_last_moment() {
    let world = world_with(grace(GRACE));
    world.user("ada");
    let first = texts(&open(&world.gate, "ada", &client()));
    world.gate.refresh(&first.1, &client()).unwrap();
    world.after(GRACE);
    no(world.gate.refresh(&first.1, &client()));
}
