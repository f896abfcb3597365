//! The view under a model checker: one writer's calls and the readers beside them, in every order of their loads and
//! stores. `tests/view_model` says how to run this.
//!
//! Loom tries each order, and each value that a load may return in Rust's memory model, with one or two readers. Shuttle
//! draws orders at random for more readers who ask more often; every load of its sees the latest store.

use super::staging::{bit, denial, grant, handle, role, session, user};
use super::sync::Ordering;
use super::sync::modelled::{AtomicBool, setting_up, thread};
use super::*;
use std::sync::Arc;

/// A model and its name.
pub(crate) type Model = (&'static str, fn());

macro_rules! models {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), $name as fn())),*]
    };
}

mod moving;
mod taking;

/// All of them.
pub(crate) fn models() -> impl Iterator<Item = Model> {
    taking::MODELS.iter().chain(moving::MODELS).copied()
}

const NOW: ViewTime = ViewTime::from_secs(1000);
/// Session of user 1, in the first line of its page.
const ID: u64 = 8;
/// Begins its search in the same line.
const TENANT: u64 = 12;
const LOOM: bool = cfg!(view_model = "loom");

/// Tries the orders of one scene.
#[cfg(view_model = "loom")]
fn explore(preemptions: usize, scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    // Faults for which a thread has to be taken off in the middle of something more often are left to Shuttle.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(scene);
}

#[cfg(view_model = "shuttle")]
fn explore(_: usize, scene: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    const ORDERS: usize = 400;
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    config.stack_size = 1 << 17;
    let scene = Arc::new(scene);
    for pct in [false, true] {
        let (scene, config) = (Arc::clone(&scene), config.clone());
        match pct {
            true => shuttle::Runner::new(PctScheduler::new(4, ORDERS), config).run(move || scene()),
            false => shuttle::Runner::new(RandomScheduler::new(ORDERS), config).run(move || scene()),
        };
    }
}

/// User 1 with role 1 and bit 0 in it, and session 8; user 2 with role 2, of which bit 1 is, and which nobody else has; user 3.
/// All that was asked of user 1 is worked out, and the line remembers it.
fn stage() -> View {
    let view = View::new().unwrap();
    for (n, words) in [(1, 1), (2, 2)] {
        view.put_role(role(n), &[]).unwrap();
        view.put_grants(role(n), 0, &[words]).unwrap();
        view.define(bit(n - 1)).unwrap();
    }
    for n in 1..=3 {
        view.put_user(user(n), UserState::Active, 0).unwrap();
    }
    view.assign_role(user(1), role(1)).unwrap();
    view.put_session(&session(ID, 1), None).unwrap();
    view
}

/// One writer's act, and questions beside it and after it.
#[derive(Clone, Copy)]
struct Race {
    /// How often Loom may take a thread off in the middle of something.
    preemptions: usize,
    /// How many ask, and how often, with Loom and with Shuttle.
    readers: (usize, usize),
    asks: (usize, usize),
    prepare: fn(&View),
    act: fn(&View),
    /// Is told whether the act had returned when the question began.
    ask: fn(&View, bool),
    /// When all have ended.
    after: fn(&View),
}

impl Race {
    const fn new(prepare: fn(&View), act: fn(&View), ask: fn(&View, bool)) -> Self {
        Self { preemptions: 2, readers: (1, 3), asks: (1, 4), prepare, act, ask, after: |_| {} }
    }

    fn run(self) {
        explore(self.preemptions, move || {
            setting_up(true);
            let (view, done) = (Arc::new(stage()), Arc::new(AtomicBool::new(false)));
            (self.prepare)(&view);
            setting_up(false);
            let (readers, asks) = match LOOM {
                true => (self.readers.0, self.asks.0),
                false => (self.readers.1, self.asks.1),
            };
            let readers: Vec<_> = (0..readers)
                .map(|_| {
                    let (view, done) = (Arc::clone(&view), Arc::clone(&done));
                    thread::spawn(move || {
                        for _ in 0..asks {
                            let before = done.load(Ordering::Acquire);
                            (self.ask)(&view, before);
                        }
                    })
                })
                .collect();
            (self.act)(&view);
            done.store(true, Ordering::Release);
            for reader in readers {
                reader.join().unwrap();
            }
            (self.after)(&view);
            // What readers left in the lines is there now.
            for _ in 0..2 {
                (self.ask)(&view, true);
            }
        });
    }
}

fn held() -> SessionHandle {
    SessionHandle { id: ID, page: 0, slot: (ID as usize % lines::LINES) as u8 }
}

/// The line remembers what user 1 holds.
fn warm(view: &View) {
    for _ in 0..2 {
        assert_eq!(view.check_session(held(), bit(0), NOW), Answer::Allow);
    }
}

/// Then somebody else changes, so that the next question asks user 1's cell.
fn cool(view: &View) {
    warm(view);
    view.put_user(user(3), UserState::Active, 1).unwrap();
}
