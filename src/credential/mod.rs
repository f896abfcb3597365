//! Credentials: which passwords are taken, and their hashes in rows of their own that only a login reads.

mod blocklist;
mod breach;
mod context;
mod ops;
mod policy;
mod record;
#[cfg(feature = "strength")]
mod strength;

pub use breach::{BreachCheck, BreachError, BreachFile, BreachQuery};
pub(crate) use ops::{former_passwords, has_ended, must_change, stage_compromised, stage_password};
pub use policy::PasswordPolicy;
pub(crate) use record::{CredentialRecord, FormerPasswordRecord, TABLES};
pub use record::{MustChange, PasswordState};
#[cfg(feature = "strength")]
pub use strength::PasswordStrength;
