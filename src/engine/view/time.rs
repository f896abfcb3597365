//! Seconds of the view: an instant in 32 bits, so that a session's two instants share one word.

use crate::clock::Timestamp;

/// 2024-01-01T00:00:00Z, before the first release.
const ORIGIN: u64 = 1_704_067_200;

/// Whole seconds since 2024-01-01T00:00:00Z, rounded down: a deadline is met up to one second early, never late.
///
/// Instants before 2024 are 0; those after January 2092 are `LAST`, at which every deadline is over. The 32nd bit is
/// free for a session's line to keep a mark in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ViewTime(u32);

impl ViewTime {
    /// A deadline that no clock reaches.
    #[cfg(any(test, view_model))]
    pub(crate) const NEVER: Self = Self((1 << 31) - 1);

    /// The last second that an instant comes to.
    pub(crate) const LAST: Self = Self((1 << 31) - 2);

    pub(crate) const fn from_secs(secs: u32) -> Self {
        Self(secs)
    }

    pub(crate) const fn secs(self) -> u32 {
        self.0
    }

    /// Whether sessions can be counted in such times: not before the first second, and a year before the last one.
    pub(crate) fn can_tell(instant: Timestamp) -> bool {
        instant.as_secs() > ORIGIN && Self::from(instant).0 < Self::LAST.0 - 366 * 86_400
    }

    /// The instant at the start of this second.
    pub(crate) const fn timestamp(self) -> Timestamp {
        Timestamp::from_millis((ORIGIN + self.0 as u64) * 1000)
    }
}

impl From<Timestamp> for ViewTime {
    fn from(instant: Timestamp) -> Self {
        let secs = instant.as_secs().saturating_sub(ORIGIN);
        Self(u32::try_from(secs).map_or(Self::LAST.0, |secs| secs.min(Self::LAST.0)))
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
