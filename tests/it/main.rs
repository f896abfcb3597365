//! What portcullis promises, held through its public API: one module a subject, one test a promise.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets what it does not expect must stop"
)]

mod admission;
mod ansi;
mod api_keys;
mod api_keys_ends;
mod api_keys_model;
mod attacks;
mod audit;
mod audit_kinds;
mod audit_refused;
mod authenticator;
mod authorization;
mod bad_input;
mod bulk;
mod bulk_model;
mod casbin;
mod casbin_cases;
mod casbin_files;
mod context;
mod delegation;
mod delegation_model;
mod demands;
mod demands_later;
mod devices;
mod directory;
mod emails;
mod escalation;
mod events;
mod factors;
mod feed;
mod feed_model;
mod flags;
mod flags_model;
mod flags_races;
mod flags_rules;
mod format;
mod guards;
mod history;
mod history_model;
mod impersonation;
mod impersonation_log;
mod impersonation_model;
mod import;
mod import_breaches;
mod import_model;
mod jwt;
mod jwt_attacks;
mod jwt_feed;
mod legacy;
mod linearizable;
mod login;
mod login_attacks;
mod login_model;
mod maintainer;
mod model;
mod names;
mod objects;
mod on_behalf;
mod on_tokio;
mod on_tokio_flows;
mod own_sessions;
mod passkeys;
mod passkeys_attacks;
mod passkeys_login;
mod passkeys_model;
mod password_keys;
mod passwords;
mod passwords_model;
mod proof;
mod proof_model;
mod proof_notes;
mod races;
mod reauthentication;
mod refresh;
mod refresh_model;
mod refresh_races;
mod review;
mod roles;
mod scopes;
mod scopes_model;
mod service_accounts;
mod sessions;
mod support;
mod throttle;
mod tickets;
mod tickets_flows;
mod tickets_model;
mod tickets_races;
mod tickets_reset;
mod tickets_throttle;
mod tidy;
mod typed;
mod typed_model;
mod unverifiable;
mod users;
