//! What a password hash costs, and how to choose it.

use super::password::unusable;
use crate::clock::timed;
use crate::error::{Error, ErrorKind, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::time::Duration;

/// The most that a stored hash may ask for, so that a hostile record can not take the machine down.
pub(super) const MAX_MEMORY_KIB: u32 = 1 << 20;
pub(super) const MAX_ITERATIONS: u32 = 64;

/// What one password hash costs: the parameters of Argon2id.
///
/// The default, 19 MiB and two passes, is one of the five rows of equal strength in OWASP's Password Storage Cheat
/// Sheet. A cost below all five rows is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    iterations: u32,
}

/// How often a cost is timed; the shortest time counts.
const RUNS: usize = 2;
/// Nobody waits longer for a login.
const LONGEST_TARGET: Duration = Duration::from_secs(60);
/// How finely memory is chosen.
const STEP_KIB: u32 = 1024;

/// OWASP's rows: memory in KiB and passes, one lane.
const ROWS: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

impl PasswordCost {
    /// A cost by its memory in KiB and its number of passes, with one lane.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the cost is below every OWASP row, or above 1 GiB or 64 passes.
    pub fn new(memory_kib: u32, iterations: u32) -> Result<Self> {
        if !ROWS.iter().any(|(memory, passes)| memory_kib >= *memory && iterations >= *passes) {
            return Err(Error::invalid(
                "password_cost",
                format!(
                    "{memory_kib} KiB and {iterations} passes are below every OWASP row; take at least 19456 and 2"
                ),
            ));
        }
        if memory_kib > MAX_MEMORY_KIB || iterations > MAX_ITERATIONS {
            return Err(Error::invalid(
                "password_cost",
                format!(
                    "at most {MAX_MEMORY_KIB} KiB and {MAX_ITERATIONS} passes, not {memory_kib} and {iterations}"
                ),
            ));
        }
        Ok(Self { memory_kib, iterations })
    }

    /// Blocks of 1 KiB in which one hash works.
    pub(crate) fn blocks(self) -> Result<usize> {
        let params = Params::new(self.memory_kib, self.iterations, 1, Some(32)).map_err(unusable)?;
        Ok(params.block_count())
    }

    /// The cost that comes closest to a time without exceeding it, on this machine and with at most so much memory a hash.
    ///
    /// Memory is used up first, and passes are added then (RFC 9106, section 4). A machine that can not even compute the
    /// cheapest OWASP row in that time gets that row: the cost is never below one. The answer depends on what else the
    /// machine does meanwhile, so call it when a machine is set up and write the two numbers into the settings; an engine
    /// whose cost changes with each start would hash every password anew at each login. It computes forty hashes at most.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero or above a minute, and for less memory than the smallest row needs, 7,168 KiB;
    /// `Storage` where the memory can not be had.
    ///
    /// ```no_run
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::PasswordCost;
    /// let cost = PasswordCost::calibrate(std::time::Duration::from_millis(250), 64 * 1024)?;
    /// println!("{} KiB, {} passes", cost.memory_kib(), cost.iterations());
    /// # Ok(())
    /// # }
    /// ```
    pub fn calibrate(target: Duration, most_memory_kib: u32) -> Result<Self> {
        let mut memory: Vec<Block> = Vec::new();
        Self::calibrate_with(target, most_memory_kib, |cost| {
            let params = Params::new(cost.memory_kib, cost.iterations, 1, Some(32)).map_err(unusable)?;
            let blocks = params.block_count();
            if memory.len() < blocks {
                memory.try_reserve_exact(blocks - memory.len()).map_err(|error| {
                    let message =
                        format!("there is no memory for a password hash of {} KiB", cost.memory_kib);
                    Error::new(ErrorKind::Storage, message).caused_by(error)
                })?;
                memory.resize(blocks, Block::default());
            }
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let mut output = [0; 32];
            let mut best = Duration::MAX;
            for _ in 0..RUNS {
                let (done, took) = timed(|| {
                    argon2.hash_password_into_with_memory(&[0; 16], &[0; 16], &mut output, &mut memory)
                });
                done.map_err(unusable)?;
                // What else runs can only make it slower.
                best = best.min(took);
            }
            Ok(best)
        })
    }

    fn calibrate_with(
        target: Duration,
        most_memory_kib: u32,
        mut time: impl FnMut(Self) -> Result<Duration>,
    ) -> Result<Self> {
        if target.is_zero() || target > LONGEST_TARGET {
            let message = format!("is {target:?}; take more than nothing and at most {LONGEST_TARGET:?}");
            return Err(Error::invalid("target", message));
        }
        let most = most_memory_kib.min(MAX_MEMORY_KIB);
        let rows = ROWS
            .iter()
            .map(|(memory_kib, iterations)| Self { memory_kib: *memory_kib, iterations: *iterations });
        // Two passes where the memory is there for them: after one alone, the memory has to be wiped.
        let fits = |row: &Self| row.memory_kib <= most && row.iterations >= 2;
        let Some(base) = rows.filter(fits).max_by_key(|row| row.memory_kib) else {
            return Err(Error::invalid(
                "most_memory_kib",
                format!("is {most_memory_kib}; the smallest OWASP row needs 7168 KiB"),
            ));
        };
        let took = time(base)?;
        if took >= target {
            return Self::cheapest(base, took, target, most, time);
        }
        // As much memory as fits into the time, by halving: time rises with memory, if not evenly.
        let (mut fine, mut over) = (base.memory_kib, most.saturating_add(STEP_KIB));
        let whole = Self { memory_kib: most, ..base };
        if time(whole)? <= target {
            fine = most;
        } else {
            over = most;
        }
        while over.saturating_sub(fine) > STEP_KIB.max(fine / 16) {
            let middle = fine + (over - fine) / 2;
            if time(Self { memory_kib: middle, ..base })? <= target { fine = middle } else { over = middle }
        }
        let filled = Self { memory_kib: fine, ..base };
        if fine < most {
            return Ok(filled);
        }
        // All the memory there may be: passes for the rest of the time.
        let (mut fine, mut over) = (filled.iterations, MAX_ITERATIONS + 1);
        while over - fine > 1 {
            let middle = fine + (over - fine) / 2;
            if time(Self { iterations: middle, ..filled })? <= target { fine = middle } else { over = middle }
        }
        Ok(Self { iterations: fine, ..filled })
    }

    /// The row that takes the least time of those that fit, where the usual one takes too long: they are of equal strength.
    fn cheapest(
        base: Self,
        took: Duration,
        target: Duration,
        most: u32,
        mut time: impl FnMut(Self) -> Result<Duration>,
    ) -> Result<Self> {
        let mut best = (took, base);
        for (memory_kib, iterations) in ROWS {
            let row = Self { memory_kib, iterations };
            if memory_kib <= most && row != base && best.0 > target {
                let took = time(row)?;
                if took < best.0 {
                    best = (took, row);
                }
            }
        }
        Ok(best.1)
    }

    /// Memory of one hash in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over that memory.
    #[must_use]
    pub const fn iterations(self) -> u32 {
        self.iterations
    }

    /// A cost that protects nothing and takes microseconds, so that tests need not wait.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn danger_for_tests() -> Self {
        Self { memory_kib: 8, iterations: 1 }
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_costs_are_refused() {
        for (memory, passes) in [(8, 1), (19_455, 2), (47_104, 0), (7_168, 4)] {
            assert_eq!(PasswordCost::new(memory, passes).unwrap_err().field(), Some("password_cost"));
        }
        assert!(PasswordCost::new(u32::MAX, 3).is_err());
        for (memory, passes) in ROWS {
            assert!(PasswordCost::new(memory, passes).is_ok());
        }
    }

    /// A machine that takes so many nanoseconds for a KiB and pass, and more where the memory is above its cache.
    fn machine(nanos: u64) -> impl FnMut(PasswordCost) -> Result<Duration> {
        move |cost| {
            let (memory, passes) = (u64::from(cost.memory_kib), u64::from(cost.iterations));
            let beyond_cache = if memory > 32_768 { 5 } else { 4 };
            Ok(Duration::from_nanos(memory * passes * nanos * beyond_cache / 4))
        }
    }

    #[test]
    fn calibration_fills_the_time_and_never_falls_below_a_row() {
        for nanos in [1, 30, 100, 300, 1_000, 3_000, 100_000] {
            for millis in [1, 10, 50, 100, 250, 1_000, 10_000, 60_000] {
                for most in [7_168, 9_216, 12_288, 19_456, 47_104, 65_536, 1 << 20, u32::MAX] {
                    let (target, mut asked) = (Duration::from_millis(millis), 0);
                    let cost = PasswordCost::calibrate_with(target, most, |cost| {
                        asked += 1;
                        machine(nanos)(cost)
                    });
                    let cost = cost.unwrap();
                    assert_eq!(PasswordCost::new(cost.memory_kib, cost.iterations).unwrap(), cost);
                    assert!(cost.memory_kib <= most && asked < 20, "{cost:?} after {asked}");
                    let mut took = machine(nanos);
                    if took(cost).unwrap() > target {
                        let quicker =
                            ROWS.iter().filter(|(memory, _)| *memory <= most).find(|(memory, passes)| {
                                took(PasswordCost { memory_kib: *memory, iterations: *passes }).unwrap()
                                    <= target
                            });
                        assert!(ROWS.contains(&(cost.memory_kib, cost.iterations)) && quicker.is_none());
                    } else if cost.memory_kib < most.min(MAX_MEMORY_KIB) && cost.iterations == 2 {
                        let more = PasswordCost {
                            memory_kib: cost.memory_kib + cost.memory_kib / 8 + 2 * STEP_KIB,
                            ..cost
                        };
                        assert!(took(more).unwrap() > target, "{cost:?} leaves {millis} ms unused");
                    } else if cost.memory_kib == most && cost.iterations < MAX_ITERATIONS {
                        let more = PasswordCost { iterations: cost.iterations + 1, ..cost };
                        assert!(took(more).unwrap() > target);
                    }
                }
            }
        }
    }

    #[test]
    fn calibration_refuses_what_it_can_not_do_and_passes_failures_on() {
        for (target, most, field) in [
            (Duration::ZERO, 65_536, "target"),
            (Duration::from_secs(61), 65_536, "target"),
            (Duration::from_secs(1), 7_167, "most_memory_kib"),
        ] {
            let error = PasswordCost::calibrate_with(target, most, machine(100)).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some(field)));
        }
        let broken = |_| Err(Error::damaged("no timer"));
        assert!(PasswordCost::calibrate_with(Duration::from_secs(1), 65_536, broken).is_err());
    }

    #[test]
    fn calibration_works_on_this_machine() {
        // A target that no machine meets: the cheapest of the smallest rows, after two of them at most.
        let cost = PasswordCost::calibrate(Duration::from_nanos(1), 9_216).unwrap();
        assert!([(9_216, 4), (7_168, 5)].contains(&(cost.memory_kib, cost.iterations)), "{cost:?}");
    }
}
