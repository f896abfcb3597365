//! Passkeys: public keys by which a user's authenticators prove themselves (W3C Web Authentication Level 3, "the
//! standard" in this room). The ceremonies are verified by the crate `webauthn_rp`; `ceremony` is all that names it.

#[cfg(feature = "passkeys")]
mod ceremony;
#[cfg(feature = "passkeys")]
mod public;
mod record;
mod secret;
#[cfg(feature = "passkeys")]
mod settings;

pub(crate) use record::{PASSKEY, PasskeyRecord, PasskeyState, StateKey, TABLES};
pub(crate) use secret::Secret;
#[cfg(feature = "passkeys")]
pub(crate) use {
    ceremony::{Presented, RelyingParty},
    record::{CHALLENGE, MAX_PASSKEYS, OpenRegistration, PASSKEY_BY_CREDENTIAL, credential_key, passkeys_of},
};
#[cfg(feature = "passkeys")]
pub use {
    public::{Passkey, PasskeyId, PasskeyRegistration},
    record::PasskeyAlgorithm,
    settings::{PasskeySettings, UserVerification},
};
