//! What is to be ended, remembered until it has been.

use crate::clock::Timestamp;
use crate::id::{ScopeId, SessionId};
use crate::session::SessionFilter;
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};

pub(crate) const SESSION_ENDING: Table = Table::new(104, "session_ending");

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Those that match.
    Matching(SessionFilter),
    /// Those of users who hold something at the scope or below it, or are at home there.
    AtScope(ScopeId),
    /// What is left of sessions of earlier eras, which have no effect any more; all up to this one have been looked at.
    Eras(Option<SessionId>),
}

/// A marker. It is written before the first session ends and removed after the last one has; whoever finds one goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndingRecord {
    pub(crate) what: Ending,
    /// Tells one from the others, in the audit log, too.
    pub(crate) mark: u64,
    /// Sessions that were opened later are not meant.
    pub(crate) until: Timestamp,
}

impl EndingRecord {
    /// What the keys of markers begin with whose sessions must end before anything else goes on.
    pub(crate) const DUE: [u8; 2] = [0, 1];
    /// The key of the one marker for all eras.
    pub(crate) const ERAS: (u8, u64) = (2, 0);
}

impl Record for EndingRecord {
    const TABLE: Table = SESSION_ENDING;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (u8, u64);

    fn key(&self) -> Self::Key {
        match self.what {
            Ending::Matching(_) => (0, self.mark),
            Ending::AtScope(_) => (1, self.mark),
            Ending::Eras(_) => Self::ERAS,
        }
    }
}
