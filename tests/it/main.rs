//! What portcullis promises, held through its public API: one module a subject, one test a promise.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets what it does not expect must stop"
)]

mod ansi;
mod attacks;
mod audit;
mod audit_kinds;
mod authorization;
mod bad_input;
mod casbin;
mod casbin_cases;
mod casbin_files;
mod context;
mod delegation;
mod delegation_model;
mod directory;
mod escalation;
mod flags;
mod flags_model;
mod flags_races;
mod flags_rules;
mod format;
mod guards;
mod login;
mod model;
mod objects;
mod on_behalf;
mod password_keys;
mod passwords;
mod passwords_model;
mod races;
mod review;
mod roles;
mod scopes;
mod scopes_model;
mod sessions;
mod support;
mod tidy;
mod typed;
mod typed_model;
mod users;
