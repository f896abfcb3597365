//! Password hashing behind its admission gate, and tokens. Primitives come from well-kept crates.

mod gate;
mod password;
mod token;

pub use password::PasswordCost;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHasher};
pub(crate) use token::{DeviceProof, Digest, Presented, Purpose};
pub use token::{DeviceToken, OneTimeToken, Token};
