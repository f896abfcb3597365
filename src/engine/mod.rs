//! What spans the rooms: the read model that answers every check.

pub(crate) mod view;
