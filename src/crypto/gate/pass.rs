//! A permit that a thread holds before it knows which hash it will compute.
//!
//! An asynchronous call waits for its permit first and then takes a thread for the whole call. It is the thread that
//! holds the permit, so that every way to a hash finds it and none asks for a second one while it has the first.

use super::{Gate, Permit};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static PASS: RefCell<Option<Permit>> = const { RefCell::new(None) };
}

/// Puts back what the thread held before, also when the call panics.
struct Before(Option<Permit>);

impl Drop for Before {
    fn drop(&mut self) {
        drop(PASS.replace(self.0.take()));
    }
}

impl Permit {
    /// Runs the call with this permit for its hashes, one after the other, and gives it back afterwards.
    pub(crate) fn during<T>(self, call: impl FnOnce() -> T) -> T {
        let _before = Before(PASS.replace(Some(self)));
        call()
    }
}

/// The permit of this thread for that gate, to be [put](put) back after the hash. A hash that panics gives it back to
/// the gate instead.
pub(super) fn take(gate: &Arc<Gate>) -> Option<Permit> {
    PASS.with_borrow_mut(|pass| pass.take_if(|permit| Arc::ptr_eq(&permit.gate, gate)))
}

pub(super) fn put(permit: Permit) {
    PASS.set(Some(permit));
}
