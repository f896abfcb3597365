//! Time as a parameter: the only reader of the system's clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An instant in UTC, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest instant that can be written down.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant that many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This instant and a span after it; stops at [`Timestamp::MAX`] instead of wrapping around.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The span from an earlier instant to this one; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 3339 in UTC, such as `2026-03-01T12:00:00.250Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, milli) = (millis / 1000 % 60, millis % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of a day count from 1970-01-01, in the proleptic Gregorian calendar: 400-year eras of 146,097
/// days, years that begin in March so that the leap day is the last one.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Where the engine gets the time from; inject one with
/// [`Builder::clock`](crate::Builder::clock).
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now. It may jump; the engine never lets a jump back lengthen the life of a session.
    fn now(&self) -> Timestamp;
}

/// The operating system's wall clock.
///
/// On Linux it is the coarse clock: about 5 ns a reading and at most one timer tick (1 to 10 ms) behind.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(all(target_os = "linux", feature = "sled"))]
    fn now(&self) -> Timestamp {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let millis = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1000);
        Timestamp(millis.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000))
    }

    #[cfg(not(all(target_os = "linux", feature = "sled")))]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a piece of work returns, and how long it took. For choosing settings only: decisions take their time from a
/// [`Clock`].
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = stopwatch();
    let value = work();
    (value, start.elapsed())
}

/// Where a measurement of spans begins: waiting limits count real time, whatever the wall clock does.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub(crate) fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_772_366_400_250, "2026-03-01T12:00:00.250Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
        let _ = Timestamp::MAX.to_string();
    }

    #[test]
    fn spans_do_not_wrap() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(1).since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn the_system_clock_is_after_this_was_written() {
        assert!(SystemClock.now().as_secs() > 1_700_000_000);
    }
}
