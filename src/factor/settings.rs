//! How authenticator apps are enrolled and asked.

use crate::crypto::{TotpAlgorithm, TotpWindow};
use crate::error::{Error, Result};
use crate::text;

/// Most steps beside the present one on either side: with these, a code lives for two and a half minutes, and NIST SP
/// 800-63B-4, section 3.1.4, allows a step of two minutes.
const WIDEST: u8 = 2;

/// Settings for authenticator apps (TOTP, RFC 6238); give them to [`Builder::totp`](crate::Builder::totp).
///
/// Codes have six digits and change every 30 seconds. The code of the present step and that of the one before are
/// accepted, each once; nothing is ever accepted from a step up to the one of the last accepted code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct TotpSettings {
    pub(crate) issuer: String,
    pub(crate) algorithm: TotpAlgorithm,
    pub(crate) window: TotpWindow,
}

impl TotpSettings {
    /// The name of the service as apps show it; at most 128 bytes of printable text, without a colon.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for another name.
    pub fn new(issuer: impl Into<String>) -> Result<Self> {
        let issuer = issuer.into();
        text::name("totp.issuer", &issuer)?;
        if issuer.contains(':') {
            return Err(Error::invalid("totp.issuer", "has a colon, which separates it from the account"));
        }
        Ok(Self { issuer, ..Self::default() })
    }

    /// The hash of factors that are enrolled from now on.
    pub fn algorithm(mut self, algorithm: TotpAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How many steps of 30 seconds before and after the present one are accepted; at most two each, and one before and
    /// none after by default (RFC 6238, section 5.2).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for more than two.
    pub fn window(mut self, before: u8, after: u8) -> Result<Self> {
        if before > WIDEST || after > WIDEST {
            let message =
                format!("{before} steps before and {after} after; at most {WIDEST} each are accepted");
            return Err(Error::invalid("totp.window", message));
        }
        self.window = TotpWindow { behind: before, ahead: after };
        Ok(self)
    }
}

impl Default for TotpSettings {
    fn default() -> Self {
        Self {
            issuer: "portcullis".to_owned(),
            algorithm: TotpAlgorithm::default(),
            window: TotpWindow::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_accept_too_much_is_refused() {
        for (name, field) in [("", "totp.issuer"), ("a:b", "totp.issuer"), ("a\n", "totp.issuer")] {
            assert_eq!(TotpSettings::new(name).unwrap_err().field(), Some(field));
        }
        let settings = TotpSettings::new("Gate").unwrap();
        assert_eq!(settings.clone().window(3, 0).unwrap_err().field(), Some("totp.window"));
        assert_eq!(settings.clone().window(0, 3).unwrap_err().field(), Some("totp.window"));
        assert_eq!(settings.window(2, 2).unwrap().window, TotpWindow { behind: 2, ahead: 2 });
    }
}
