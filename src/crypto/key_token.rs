//! The tokens of API keys.

use super::token::{Digest, Presented, Purpose, mint};
use crate::error::Result;
use crate::id::ApiKeyId;
use crate::secret::Entropy;
use base64_simd::URL_SAFE_NO_PAD;
use std::fmt;
use zeroize::Zeroizing;

/// Characters of base64url that have nothing of the secret: 60 of the 64 bits of the public number.
const PUBLIC_CHARACTERS: usize = 10;

/// An API key as the program keeps it: `pck_` and 59 characters of base64url.
///
/// It is shown once, by the call that made it; the database holds its BLAKE3 digest only. `Debug` does not show it, it has
/// no `Display`, and it wipes itself when dropped.
pub struct ApiKeyToken(Zeroizing<String>);

impl ApiKeyToken {
    /// The text to hand to the program.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh token, the number of its key, and its digest.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Result<(Self, ApiKeyId, Digest)> {
        let (text, presented) = mint(entropy, Purpose::ApiKey)?;
        Ok((Self(text), ApiKeyId::from_number(presented.number()), presented.digest()))
    }

    /// What the text of a key says, not believed yet; `None` for anything else, of any length.
    pub(crate) fn parse(text: &str) -> Option<(ApiKeyId, Digest)> {
        let presented = Presented::parse_as(Purpose::ApiKey, text)?;
        Some((ApiKeyId::from_number(presented.number()), presented.digest()))
    }
}

impl AsRef<str> for ApiKeyToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for ApiKeyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyToken(<secret>)")
    }
}

/// The beginning of a token of that number, as far as it is public.
pub(crate) fn prefix_of(purpose: Purpose, number: u64) -> String {
    let encoded = URL_SAFE_NO_PAD.encode_to_string(number.to_be_bytes());
    let public: String = encoded.chars().take(PUBLIC_CHARACTERS).collect();
    format!("{}{public}", purpose.prefix())
}
