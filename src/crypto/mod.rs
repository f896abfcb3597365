//! Password hashing behind its admission gate, and session tokens. Primitives come from well-kept crates.

mod gate;
mod password;
mod token;

pub use gate::Admission;
#[cfg(feature = "tokio")]
pub(crate) use gate::{Entering, Permit};
pub(crate) use gate::{Gate, Limits, Source};
pub use password::PasswordCost;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHasher};
pub use token::Token;
pub(crate) use token::{Digest, Presented};
