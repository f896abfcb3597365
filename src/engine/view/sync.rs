//! What threads meet in: atomics, the writer's lock, and places that are filled once.
//!
//! The package `tests/view_model` compiles this crate with `view_model` set, and then these are those of a model checker,
//! which decides itself which thread goes on and what each load sees. The read model is the same source in both.

#[cfg(not(view_model))]
pub(super) use parking_lot::Mutex;
pub(super) use std::sync::atomic::Ordering;
#[cfg(not(view_model))]
pub(super) use std::sync::{
    OnceLock,
    atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence},
};

#[cfg(view_model)]
pub(super) use modelled::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Mutex, OnceLock, fence};

/// How large something is, and how large where it is modelled: small enough that every order of events can be tried.
pub(super) const fn size(real: usize, modelled: usize) -> usize {
    if cfg!(view_model) { modelled } else { real }
}

#[cfg(view_model)]
pub(super) mod modelled {
    use std::cell::Cell;
    use std::fmt;
    use std::sync::PoisonError;
    use std::sync::atomic::Ordering;

    #[cfg(view_model = "loom")]
    pub(in super::super) use loom::{
        sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence},
        sync::{Mutex as Inner, MutexGuard},
        thread,
    };
    #[cfg(view_model = "shuttle")]
    pub(in super::super) use shuttle::{
        sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence},
        sync::{Mutex as Inner, MutexGuard},
        thread,
    };

    thread_local!(static SETTING_UP: Cell<bool> = const { Cell::new(false) });

    /// Before the modelled threads are started, while one thread alone fills the view, and after it.
    ///
    /// The checkers run all modelled threads on one real one, so that they all see what was set.
    pub(in super::super) fn setting_up(now: bool) {
        SETTING_UP.set(now);
    }

    /// Without poison, as the real one.
    pub(in super::super) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(Inner::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Mutex")
        }
    }

    /// Filled by one writer. What was filled before the threads started is seen by all of them, so that looking at it
    /// costs the checker nothing; what is filled later is seen as a flag says that is stored after it.
    #[derive(Debug)]
    pub(in super::super) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        early: std::sync::OnceLock<()>,
        late: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(in super::super) fn new() -> Self {
            Self {
                value: std::sync::OnceLock::new(),
                early: std::sync::OnceLock::new(),
                late: AtomicBool::new(false),
            }
        }

        pub(in super::super) fn get(&self) -> Option<&T> {
            let seen = self.early.get().is_some() || self.late.load(Ordering::Acquire);
            self.value.get().filter(|_| seen)
        }

        pub(in super::super) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            if SETTING_UP.get() {
                let _ = self.early.set(());
            } else {
                self.late.store(true, Ordering::Release);
            }
            Ok(())
        }

        pub(in super::super) fn get_or_init(&self, value: impl FnOnce() -> T) -> &T {
            if self.value.get().is_none() {
                let _ = self.set(value());
            }
            self.value.get_or_init(|| unreachable!("it was just set"))
        }
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self::new()
        }
    }
}
