//! Which sessions have signed tokens out: what the feed of revocations is made from.
//!
//! A signed token is believed by services that do not ask this database, so that it outlives its session. Before one is
//! given out, its session is noted here under the hour in which the token ends. A session that is noted and has ended is
//! what those services must hear of, whichever way it ended.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{FixedLength, Key, SessionId};
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(crate) const SIGNED: Table = Table::new(91, "signed");
pub(crate) const TABLES: &[Table] = &[SIGNED];

/// Seconds of an hour, which is also the longest that a signed token lives: so every token ends in the hour in which it
/// was issued, or in the next one.
pub(crate) const HOUR: u64 = 3600;
/// How long a note stays after its hour. Holders may believe a token for a minute more, and a clock that is set back in a
/// crash must be set back further than this for a revocation to be forgotten.
const KEEP: Duration = Duration::from_secs(HOUR);
/// The most by which a holder's clock may differ.
#[cfg(feature = "jwt")]
pub(crate) const MOST_LEEWAY: Duration = Duration::from_secs(60);

/// An hour since 1970, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Hour(u32);

impl Hour {
    /// The hour in which a second lies.
    pub(crate) fn of_second(second: u64) -> Self {
        Self(u32::try_from(second / HOUR).unwrap_or(u32::MAX))
    }

    /// The first hour that is still kept.
    pub(crate) fn first_kept(now: Timestamp) -> Self {
        Self::of_second(now.as_secs().saturating_sub(KEEP.as_secs()))
    }

    /// The first hour of which a holder may still believe a token.
    #[cfg(feature = "jwt")]
    pub(crate) fn first_believed(now: Timestamp) -> Self {
        Self::of_second(now.as_secs().saturating_sub(MOST_LEEWAY.as_secs()))
    }

    /// The instant at which it ends.
    #[cfg(feature = "jwt")]
    pub(crate) fn end(self) -> Timestamp {
        let seconds = (u64::from(self.0) + 1) * HOUR;
        Timestamp::from_millis(seconds * 1000)
    }
}

impl Key for Hour {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        u32::read(bytes).map(Self)
    }
}

impl FixedLength for Hour {
    const LENGTH: usize = 4;
}

/// Signed tokens of this session end in this hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedRecord {
    pub(crate) hour: Hour,
    pub(crate) session: SessionId,
    /// None of them can be good any more: the end of the hour, or of the session where that comes first.
    pub(crate) until: Timestamp,
}

impl Record for SignedRecord {
    const TABLE: Table = SIGNED;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (Hour, SessionId);

    fn key(&self) -> Self::Key {
        (self.hour, self.session)
    }
}

/// The key after which the rows of an hour, and of those that follow, stand; none where they are all there are.
#[cfg(feature = "jwt")]
pub(crate) fn before(hour: Hour) -> Option<Vec<u8>> {
    Some((Hour(hour.0.checked_sub(1)?), SessionId::from_number(u64::MAX)).bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_in_the_hour_of_its_last_second() {
        assert_eq!(
            (Hour::of_second(0), Hour::of_second(3599), Hour::of_second(3600)),
            (Hour(0), Hour(0), Hour(1))
        );
        assert_eq!(Hour(1).end(), Timestamp::from_millis(7_200_000));
        assert_eq!(Hour::of_second(u64::MAX), Hour(u32::MAX));
        assert!(Hour(u32::MAX).end() > Timestamp::from_millis(0));
        let now = Timestamp::from_millis(7_200_000);
        assert_eq!(Hour::first_kept(now), Hour(1), "its hour ended an hour ago, or less");
        assert_eq!(Hour::first_kept(Timestamp::from_millis(7_199_999)), Hour(0));
    }

    #[cfg(feature = "jwt")]
    #[test]
    fn the_rows_of_an_hour_follow_their_beginning() {
        let key = |hour, session| (Hour(hour), SessionId::from_number(session)).bytes();
        let before_five = before(Hour(5)).unwrap();
        assert!(before_five < key(5, 0) && before_five >= key(4, u64::MAX));
        assert_eq!(before(Hour(0)), None);
    }
}
