//! The read model of portcullis and the rooms that it names, compiled from the real source with a model checker in the
//! place of threads and atomics. `src/engine/view/sync.rs` is where they are exchanged, `src/engine/view/model.rs` has the
//! models, and `tests/models.rs` here runs them:
//!
//! ```text
//! cargo test --features loom
//! cargo test --features shuttle [-- name]
//! ```

// Most of these rooms is for callers who are not here.
#![allow(dead_code, unused_imports)]

#[path = "../../../src"]
mod source {
    pub(crate) mod assurance;
    pub(crate) mod clock;
    pub(crate) mod error;
    pub(crate) mod flag;
    pub(crate) mod grant;
    pub(crate) mod id;
    pub(crate) mod permission;
    pub(crate) mod role;
    pub(crate) mod scope;
    pub(crate) mod secret;
    pub(crate) mod store;
    pub(crate) mod text;

    pub(crate) mod apikey {
        pub(crate) mod rate;
        pub(crate) use rate::RateLimit;
    }
    pub(crate) mod session {
        pub(crate) mod eras;
        pub(crate) mod impersonation;
        pub(crate) use eras::is_of_era;
        pub(crate) use impersonation::Impersonator;
    }

    pub(crate) mod engine {
        pub(crate) mod view;
    }
}

use source::{
    apikey, assurance, clock, engine, error, flag, grant, id, permission, role, scope, secret, session,
    store, text,
};

/// The models and their names.
pub fn models() -> Vec<(&'static str, fn())> {
    engine::view::model::models().collect()
}
