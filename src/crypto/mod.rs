//! Password hashing behind its admission gate, session tokens, and keys that are held outside the database. Primitives come from well-kept crates.

mod gate;
mod keys;
mod password;
mod token;

pub use keys::{KeyId, Keyring};
pub use password::PasswordCost;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHasher};
pub use token::Token;
pub(crate) use token::{Digest, Presented};
