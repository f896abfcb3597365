//! Password hashing behind its admission gate, session tokens, and keys that are held outside the database. Primitives come from well-kept crates.

mod cost;
mod gate;
mod keys;
mod password;
mod token;

pub use cost::PasswordCost;
pub use keys::{KeyId, Keyring};
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, Normal, PasswordHasher, pepper_of};
pub use token::Token;
pub(crate) use token::{Digest, Presented};
