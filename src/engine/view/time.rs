//! Seconds of the view: an instant in 32 bits, so that a session's two instants share one word.

use crate::clock::Timestamp;

/// 2024-01-01T00:00:00Z, before the first release.
const ORIGIN: u64 = 1_704_067_200;

/// Whole seconds since 2024-01-01T00:00:00Z, rounded down: a deadline is met up to one second early, never late.
///
/// Instants before 2024 are 0; those after the year 2160 are the last second that can be told, so that `NEVER` is
/// after every instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ViewTime(u32);

impl ViewTime {
    /// A deadline that no clock reaches.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    pub(crate) const fn from_secs(secs: u32) -> Self {
        Self(secs)
    }

    pub(crate) const fn secs(self) -> u32 {
        self.0
    }

    /// The instant at the start of this second.
    pub(crate) const fn timestamp(self) -> Timestamp {
        Timestamp::from_millis((ORIGIN + self.0 as u64) * 1000)
    }
}

impl From<Timestamp> for ViewTime {
    fn from(instant: Timestamp) -> Self {
        let secs = instant.as_secs().saturating_sub(ORIGIN);
        Self(u32::try_from(secs).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_down_and_stays_in_range() {
        let at = |millis| ViewTime::from(Timestamp::from_millis(millis));
        assert_eq!(at(0).secs(), 0);
        assert_eq!(at(ORIGIN * 1000 + 5999).secs(), 5);
        assert_eq!(at(ORIGIN * 1000 + 5999).timestamp().as_millis(), ORIGIN * 1000 + 5000);
        assert!(at(u64::MAX) < ViewTime::NEVER);
    }
}
