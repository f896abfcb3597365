//! Password hashing behind its admission gate, keys held outside the database, and tokens. Primitives come from well-kept crates.

mod cost;
mod gate;
mod key_token;
mod keys;
#[cfg(feature = "legacy")]
mod legacy;
mod password;
mod recovery;
mod refresh;
mod token;
mod totp;

pub use cost::PasswordCost;
pub use gate::Admission;
#[cfg(feature = "tokio")]
pub(crate) use gate::{Entering, Permit};
pub(crate) use gate::{Gate, Limits, Source, trial};
pub use key_token::ApiKeyToken;
pub(crate) use key_token::prefix_of;
pub(crate) use keys::sealed_with;
pub use keys::{KeyId, Keyring};
#[cfg(feature = "legacy")]
pub(crate) use legacy::SignerKey;
#[cfg(feature = "testing")]
pub(crate) use password::Pause;
pub(crate) use password::{MAX_PASSWORD_BYTES, Normal, PasswordHasher, Verdict, pepper_of};
pub use recovery::RecoveryCode;
pub(crate) use recovery::{matching_code, sent_code};
pub use refresh::RefreshToken;
pub(crate) use refresh::{Pair, PresentedRefresh, first_refresh};
pub(crate) use token::{DeviceProof, Digest, Presented, Purpose};
pub use token::{DeviceToken, OneTimeToken, Token, TokenPurpose};
pub use totp::TotpAlgorithm;
#[cfg(feature = "testing")]
pub(crate) use totp::totp_code;
pub(crate) use totp::{SEED, TotpWindow, matching_step, provisioning_uri, seed_text};
