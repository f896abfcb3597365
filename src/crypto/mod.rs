<<<<<<< HEAD
//! Password hashing behind its admission gate, and tokens. Primitives come from well-kept crates.
=======
//! Password hashing behind its admission gate, session tokens, and keys that are held outside the database. Primitives come from well-kept crates.
>>>>>>> passwords

mod gate;
mod keys;
mod password;
mod token;

pub use keys::{KeyId, Keyring};
pub use password::PasswordCost;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHasher};
pub(crate) use token::{Digest, Presented, Purpose};
pub use token::{OneTimeToken, Token};
