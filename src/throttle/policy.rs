//! The settings, and the arithmetic of waiting.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::network::Prefixes;
use std::time::Duration;

/// Most failures in a row that any setting allows (NIST SP 800-63B-4, section 3.2.2).
const MOST: u32 = 100;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Times that lie further in the future than a clock that was read a moment ago can explain are from before it was set
/// back, and count as long past.
const SKEW: Duration = Duration::from_secs(60);

/// How often somebody may be wrong: at one account, from one address, and in all.
///
/// - **A login name and an address.** The first four failures in a row cost nothing. After the fifth, the next attempt waits
///   for 30 seconds, and for twice as long after each further failure, up to an hour.
/// - **A login name.** The same, for failures from all addresses together; but of one address only as many count as cost
///   nothing, so that a single address never makes others wait.
/// - **An address.** A hundred failures an hour; thirty where ten or more different names were tried within the hour.
/// - **A password or a second factor of an account.** After 100 failures in a row it is stopped: even the right one is
///   refused, until there is another one.
///
/// Names that nobody has are treated as those of users. A device that the user has logged in from before, and that
/// presents its token, is counted by itself and is held up by none of the others.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, Denial, NewUser, Portcullis, ThrottlePolicy};
/// use std::time::Duration;
/// let policy = ThrottlePolicy::new().delays(2, Duration::from_secs(60), Duration::from_secs(3600)).stop(50);
/// # let builder = Portcullis::builder().danger_fast_password_hashes();
/// let gate = builder.throttle(policy).in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let wrong = Credentials::password("ada", "a guess");
/// for _ in 0..3 {
///     assert_eq!(gate.login(&wrong, &Client::new()).unwrap_err().denial(), Some(Denial::Credentials));
/// }
/// let refused = gate.login(&wrong, &Client::new()).unwrap_err();
/// assert_eq!(refused.retry_after(), Some(Duration::from_secs(60)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ThrottlePolicy {
    pub(crate) on: bool,
    free: u32,
    first: Duration,
    longest: Duration,
    stop: u32,
    source: u32,
    names: u32,
    tightened: u32,
    entries: usize,
    pub(crate) prefixes: Prefixes,
}

impl ThrottlePolicy {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            on: true,
            free: 4,
            first: Duration::from_secs(30),
            longest: HOUR,
            stop: MOST,
            source: 100,
            names: 10,
            tightened: 30,
            entries: 1 << 20,
            prefixes: Prefixes { v4: 32, v6: 64 },
        }
    }

    /// How many failures in a row cost nothing, what the next one costs, and the most that one costs: each costs twice as
    /// much as the one before. 0 to 20 failures, 4 by default; delays from one second to a day, 30 seconds and an hour by
    /// default.
    pub const fn delays(mut self, free: u32, first: Duration, longest: Duration) -> Self {
        (self.free, self.first, self.longest) = (free, first, longest);
        self
    }

    /// After how many failures in a row a password or a second factor is stopped; more than cost nothing, and at most 100,
    /// the default.
    pub const fn stop(mut self, failures: u32) -> Self {
        self.stop = failures;
        self
    }

    /// How many failures an hour one address may have, whatever the names; 1 to 1,000,000, 100 by default. It is a
    /// measure that empties evenly: after an hour's worth at once, the next one is taken 36 seconds later. Many people can
    /// share an address.
    pub const fn source(mut self, failures: u32) -> Self {
        self.source = failures;
        self
    }

    /// From how many different names within an hour an address is taken to try stolen passwords, and how many failures
    /// an hour it may then have; 2 to 128 names, about 10 by default (they are estimated in 64 bits, and never too high
    /// by more than names that fail), and 1 failure up to those that any address may have, 30 by default.
    pub const fn stuffing(mut self, names: u32, failures: u32) -> Self {
        (self.names, self.tightened) = (names, failures);
        self
    }

    /// How many leading bits of an IPv4 and of an IPv6 address make one source; 8 to 32 and 16 to 128, by default 32 and
    /// 64: what is commonly given to one customer.
    pub const fn source_prefixes(mut self, v4: u8, v6: u8) -> Self {
        self.prefixes = Prefixes { v4, v6 };
        self
    }

    /// For how many login names failures are kept; 1,024 to 268,435,456, by default 1,048,576, rounded up to a power of
    /// two. As many pairs of a name and an address are kept, and an eighth as many addresses. Where there are more, those
    /// with the fewest failures are forgotten first. Another number than before forgets all of them; what is counted for
    /// the stop of an account stays.
    pub const fn entries(mut self, names: usize) -> Self {
        self.entries = names;
        self
    }

    /// Neither delays nor stops: whoever can reach the login can guess as fast as hashes are computed.
    pub const fn danger_off(mut self) -> Self {
        self.on = false;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        const LONG: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
        let range = |field: &'static str, value: u64, from: u64, to: u64| match value {
            value if (from..=to).contains(&value) => Ok(()),
            _ => Err(Error::invalid(field, format!("is {value}; {from} to {to} can be set"))),
        };
        range("throttle.free", self.free.into(), 0, 20)?;
        range("throttle.stop", self.stop.into(), u64::from(self.free) + 1, MOST.into())?;
        range("throttle.source", self.source.into(), 1, 1_000_000)?;
        range("throttle.names", self.names.into(), 2, 128)?;
        range("throttle.tightened", self.tightened.into(), 1, self.source.into())?;
        range("throttle.entries", u64::try_from(self.entries).unwrap_or(u64::MAX), 1 << 10, 1 << 28)?;
        range("throttle.prefixes.v4", self.prefixes.v4.into(), 8, 32)?;
        range("throttle.prefixes.v6", self.prefixes.v6.into(), 16, 128)?;
        for (field, delay) in [("throttle.first", self.first), ("throttle.longest", self.longest)] {
            if !LONG.contains(&delay) {
                return Err(Error::invalid(field, format!("is {delay:?}; 1 second to 24 hours can be set")));
            }
        }
        match self.first <= self.longest {
            true => Ok(()),
            false => Err(Error::invalid(
                "throttle.first",
                format!("is {:?}, which is more than the longest, {:?}", self.first, self.longest),
            )),
        }
    }

    /// How many failures in a row cost nothing.
    pub(crate) const fn free(&self) -> u32 {
        self.free
    }

    /// Whether so many failures in a row are too many for good.
    pub(crate) const fn stops(&self, failures: u32) -> bool {
        failures >= self.stop
    }

    /// What the last of so many failures in a row costs.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(over) => self.first.saturating_mul(1 << (over - 1).min(30)).min(self.longest),
        }
    }

    /// The base-two logarithm of the number of rows for names, each of eight.
    pub(crate) fn row_bits(&self) -> u8 {
        u8::try_from((self.entries / super::row::ROW).next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
    }

    /// Whether an attempt may be made after so many failures in a row, the last of them then, while so many others are
    /// under way that may all fail.
    pub(crate) fn after(&self, failures: u32, last: Timestamp, under_way: u32, now: Timestamp) -> Wait {
        let delay = self.delay(failures);
        let until = last.saturating_add(delay);
        if !delay.is_zero() && now < until && until.since(now) <= self.longest + SKEW {
            return Wait::Until(until);
        }
        match under_way {
            0 => Wait::No,
            others if self.delay(failures.saturating_add(others)).is_zero() => Wait::No,
            _ => Wait::ForOthers,
        }
    }
}

impl Default for ThrottlePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an attempt may be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    /// Those that are under way could use up what is left.
    ForOthers,
    Until(Timestamp),
}

/// What failures an address has had, as a measure that empties evenly.
///
/// `filled` is when the measure will be empty: each failure moves it on by what a failure costs, and it overflows an hour
/// ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) filled: Timestamp,
    pub(crate) cost: Duration,
}

impl ThrottlePolicy {
    pub(crate) fn pace(&self, filled: Timestamp, tightened: bool, now: Timestamp) -> Pace {
        let an_hour = if tightened { self.tightened } else { self.source };
        let believable = filled.since(now) <= HOUR + HOUR + SKEW;
        Pace { filled: if believable { filled } else { now }, cost: HOUR / an_hour.max(1) }
    }

    /// How many bits of 64 are set, about, when so many different names were tried: never fewer than that number of names
    /// sets at least (linear counting, Whang et al. 1990).
    pub(crate) fn name_bits(&self) -> u32 {
        let empty = (0..self.names).fold(64.0_f64, |empty, _| empty * (63.0 / 64.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 64")]
        let bits = (64.0 - empty).ceil() as u32;
        bits
    }

    /// What is kept of an hour is forgotten with it.
    pub(crate) const HOUR: Duration = HOUR;
    /// Pairs of a name and an address are forgotten so long after the last failure.
    pub(crate) const KEEP: Duration = DAY;
}

impl Pace {
    pub(crate) fn after(&self, under_way: u32, now: Timestamp) -> Wait {
        let room_at = |more: u32| {
            let full = self.filled.saturating_add(self.cost.saturating_mul(more.saturating_add(1)));
            Timestamp::from_millis(full.as_millis().saturating_sub(millis(HOUR)))
        };
        if now < room_at(0) {
            return Wait::Until(room_at(0));
        }
        if now < room_at(under_way) { Wait::ForOthers } else { Wait::No }
    }

    /// The measure after one more failure.
    pub(crate) fn failed(&self, now: Timestamp) -> Timestamp {
        self.filled.max(now).saturating_add(self.cost)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn delays_double_from_the_fifth_failure_to_an_hour() {
        let policy = ThrottlePolicy::new();
        let delays: Vec<u64> = (0..=14).map(|failures| policy.delay(failures).as_secs()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(policy.delay(u32::MAX), HOUR);
        assert!(!policy.stops(99) && policy.stops(100));
    }

    #[test]
    fn a_delay_ends_at_its_very_instant_and_others_under_way_count_as_failures() {
        let policy = ThrottlePolicy::new();
        assert_eq!(policy.after(5, at(100), 0, at(129)), Wait::Until(at(130)));
        assert_eq!(policy.after(5, at(100), 0, at(130)), Wait::No);
        assert_eq!(policy.after(5, at(100), 1, at(130)), Wait::ForOthers);
        assert_eq!(policy.after(0, at(0), 4, at(0)), Wait::No);
        assert_eq!(policy.after(0, at(0), 5, at(0)), Wait::ForOthers);
        assert_eq!(policy.after(12, at(1_000_000), 0, at(5)), Wait::No, "a clock that was set back");
    }

    #[test]
    fn an_address_has_its_hours_worth_and_then_one_at_a_time() {
        let policy = ThrottlePolicy::new();
        let (now, mut filled) = (at(1_000_000), at(0));
        for _ in 0..100 {
            let pace = policy.pace(filled, false, now);
            assert_eq!(pace.after(0, now), Wait::No);
            filled = pace.failed(now);
        }
        let pace = policy.pace(filled, false, now);
        assert_eq!(pace.after(0, now), Wait::Until(at(1_000_036)));
        assert_eq!(pace.after(0, at(1_000_036)), Wait::No);
        assert_eq!(pace.after(1, at(1_000_036)), Wait::ForOthers);
        assert_eq!(policy.pace(filled, false, at(5)).after(0, at(5)), Wait::No, "a clock that was set back");
    }

    #[test]
    fn names_are_never_counted_too_high() {
        for names in 2..=128 {
            let bits = ThrottlePolicy::new().stuffing(names, 1).name_bits();
            assert!(bits <= names && bits <= 64, "{names}: {bits}");
        }
        assert_eq!(ThrottlePolicy::new().name_bits(), 10);
    }

    #[test]
    fn settings_are_bounded() {
        let good = ThrottlePolicy::new;
        assert!(good().check().is_ok() && good().stop(5).check().is_ok());
        let (second, hour) = (Duration::from_secs(1), HOUR);
        for (policy, field) in [
            (good().stop(101), "throttle.stop"),
            (good().stop(4), "throttle.stop"),
            (good().delays(21, second, hour), "throttle.free"),
            (good().delays(4, Duration::ZERO, hour), "throttle.first"),
            (good().delays(4, hour * 2, hour), "throttle.first"),
            (good().delays(4, second, DAY * 2), "throttle.longest"),
            (good().source(0), "throttle.source"),
            (good().stuffing(1, 10), "throttle.names"),
            (good().stuffing(10, 101), "throttle.tightened"),
            (good().entries(7), "throttle.entries"),
            (good().source_prefixes(7, 64), "throttle.prefixes.v4"),
            (good().source_prefixes(32, 129), "throttle.prefixes.v6"),
        ] {
            assert_eq!(policy.check().unwrap_err().field(), Some(field));
        }
    }
}
