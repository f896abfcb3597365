//! What few sessions have beside their line, so that the others do not pay for it.

use super::shards::Shards;
use crate::session::Impersonator;

/// The note on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Who acts in it as its user.
    pub(crate) impersonator: Option<Impersonator>,
}

pub(super) type Notes = Shards<Note>;
