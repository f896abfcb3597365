//! The rules beside a naive model; threads and tasks beside what they must never see.

mod model;
#[cfg(feature = "tokio")]
mod tasks;
mod threads;

use super::{Gate, Limits, Source};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn from(number: u8) -> Source {
    Source::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn gate(hashes: usize, queue: usize, patience: Duration) -> Arc<Gate> {
    Gate::new(Limits { hashes, queue, share: queue, blocks: 64, patience })
}

/// Waits until that many wait.
fn until_waiting(gate: &Gate, count: usize) {
    while gate.figures().waiting != count {
        std::thread::yield_now();
    }
}

/// Everybody who came was answered, and nothing is left behind.
fn at_rest(gate: &Gate, came: u64) {
    let seen = gate.figures();
    assert_eq!((seen.running, seen.waiting, seen.sources), (0, 0, 0), "{seen:?}");
    let refused = seen.refused_full + seen.refused_share + seen.displaced + seen.timed_out + seen.abandoned;
    assert_eq!(seen.admitted + refused, came, "{seen:?}");
    assert!(seen.peak_bytes <= seen.most_bytes, "{seen:?}");
    assert_eq!(gate.state.lock().queue.lent(), 0);
}
