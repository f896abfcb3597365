//! How often a key is accepted.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest time in which a burst may come back.
const LONGEST_REFILL: u128 = 366 * 86_400 * 1_000_000_000;

/// How often a key is accepted: so many times in a span, evenly, and so many at once after a pause.
///
/// Over any time `t` it is at most the burst and `t · requests / span`.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::RateLimit;
/// use std::time::Duration;
/// let limit = RateLimit::new(600, Duration::from_secs(60))?.burst(20)?; // ten a second, twenty at once
/// assert_eq!((limit.requests(), limit.span(), limit.burst_size()), (600, Duration::from_secs(60), 20));
/// assert!(RateLimit::new(0, Duration::from_secs(1)).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RateLimit {
    requests: u32,
    span_millis: u64,
    burst: u32,
}

impl RateLimit {
    /// So many times in a span, and as many at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for 0 or more than a million times, and for a span that is
    /// not of whole milliseconds from 1 to 366 days.
    pub fn new(requests: u32, span: Duration) -> Result<Self> {
        if !(1..=1_000_000).contains(&requests) {
            return Err(Error::invalid("rate.requests", format!("is {requests}; give 1 to 1,000,000")));
        }
        let (whole, nanos) = (span.as_nanos().is_multiple_of(1_000_000), span.as_nanos());
        let span_millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        if !whole || span_millis == 0 || nanos > LONGEST_REFILL {
            let message = format!("is {span:?}; give whole milliseconds, from 1 to 366 days");
            return Err(Error::invalid("rate.span", message));
        }
        Ok(Self { requests, span_millis, burst: requests })
    }

    /// So many at once, after a pause that is long enough.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for 0 or more than a million, and for a burst that would
    /// take more than 366 days to come back.
    pub fn burst(self, burst: u32) -> Result<Self> {
        let refill = u128::from(self.interval_nanos()) * u128::from(burst);
        if !(1..=1_000_000).contains(&burst) || refill > LONGEST_REFILL {
            let message = format!("is {burst}; give 1 to 1,000,000, and as many as come back in 366 days");
            return Err(Error::invalid("rate.burst", message));
        }
        Ok(Self { burst, ..self })
    }

    /// How many times in the span.
    #[must_use]
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// The span.
    #[must_use]
    pub const fn span(&self) -> Duration {
        Duration::from_millis(self.span_millis)
    }

    /// How many at once.
    #[must_use]
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    /// From one time to the next, rounded up so that it is never oftener.
    pub(crate) const fn interval_nanos(&self) -> u64 {
        // A span of 366 days has 3.2 · 10^16 nanoseconds.
        self.span_millis.saturating_mul(1_000_000).div_ceil(if self.requests == 0 {
            1
        } else {
            self.requests as u64
        })
    }

    /// How far ahead of its time a request may come. A stored limit may say anything.
    pub(crate) const fn tolerance_nanos(&self) -> u64 {
        self.interval_nanos().saturating_mul(self.burst.saturating_sub(1) as u64)
    }
}
