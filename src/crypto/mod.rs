//! Password hashing behind its admission gate, and session tokens. Primitives come from well-kept crates.

mod gate;
#[cfg(feature = "legacy")]
mod legacy;
mod password;
mod token;

#[cfg(feature = "legacy")]
pub(crate) use legacy::SignerKey;
pub use password::PasswordCost;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHasher};
pub use token::Token;
pub(crate) use token::{Digest, Presented};
