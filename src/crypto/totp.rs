//! Time-based one-time passwords (RFC 6238), by the crate `totp-rs`.

use crate::error::{Error, Result};
use data_encoding::BASE32_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Seconds of a step. A code lives no longer than the window says (OWASP ASVS 5.0 6.5.5).
pub(crate) const STEP: u64 = 30;
/// Bytes of a seed: 160 bits, as RFC 4226, section 4, recommends; NIST SP 800-63B-4, section 3.1.4, asks for 112.
pub(crate) const SEED: usize = 20;
const DIGITS: u8 = 6;

/// What of a URI needs no escape: RFC 3986, section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The hash under a code. Most authenticator apps know SHA-1 only, and HMAC needs no more of it than it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TotpAlgorithm {
    /// HMAC-SHA-1, which every app knows.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl TotpAlgorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    const fn of_crate(self) -> totp_rs::Algorithm {
        match self {
            Self::Sha1 => totp_rs::Algorithm::SHA1,
            Self::Sha256 => totp_rs::Algorithm::SHA256,
            Self::Sha512 => totp_rs::Algorithm::SHA512,
        }
    }
}

/// How many steps beside the present one are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TotpWindow {
    pub(crate) behind: u8,
    pub(crate) ahead: u8,
}

impl Default for TotpWindow {
    fn default() -> Self {
        Self { behind: 1, ahead: 0 }
    }
}

fn totp(algorithm: TotpAlgorithm, seed: &[u8], digits: u8) -> Result<totp_rs::Totp> {
    totp_rs::Builder::new()
        .with_algorithm(algorithm.of_crate())
        .with_digits(digits)
        .with_skew(0)
        .with_step_duration(STEP)
        .with_secret(seed)
        .build()
        .map_err(|error| Error::damaged("a stored TOTP seed is of no use").caused_by(error.to_string()))
}

/// The latest step of the window whose code this is. It takes the same time whichever step that is, or none.
pub(crate) fn matching_step(
    algorithm: TotpAlgorithm,
    seed: &[u8],
    code: &str,
    secs: u64,
    window: TotpWindow,
) -> Result<Option<u64>> {
    let totp = totp(algorithm, seed, DIGITS)?;
    let present = secs / STEP;
    let steps =
        present.saturating_sub(u64::from(window.behind))..=present.saturating_add(u64::from(window.ahead));
    let mut matching = None;
    for step in steps {
        // Every step is computed, and codes are compared in constant time.
        let found = totp.check(code, step.saturating_mul(STEP));
        matching = found.or(matching);
    }
    Ok(matching)
}

/// The code of an instant, from the seed as people type it.
#[cfg(feature = "testing")]
pub(crate) fn totp_code(algorithm: TotpAlgorithm, seed: &str, secs: u64) -> Result<String> {
    let seed = BASE32_NOPAD.decode(seed.as_bytes());
    let seed =
        seed.map_err(|error| Error::invalid("secret", "is not base 32").caused_by(error.to_string()))?;
    Ok(totp(algorithm, &seed, DIGITS)?.generate(secs).to_string())
}

/// The seed as people type it into an app.
pub(crate) fn seed_text(seed: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE32_NOPAD.encode(seed))
}

/// What an authenticator app reads from a QR code (the Key URI Format of Google Authenticator).
pub(crate) fn provisioning_uri(
    algorithm: TotpAlgorithm,
    seed: &[u8],
    issuer: &str,
    account: &str,
) -> Zeroizing<String> {
    let (issuer, account) = (utf8_percent_encode(issuer, ESCAPED), utf8_percent_encode(account, ESCAPED));
    let secret = seed_text(seed);
    Zeroizing::new(format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm={}&digits={DIGITS}&period={STEP}",
        secret.as_str(),
        algorithm.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, with the seeds of erratum 2866: as many bytes as the hash has.
    #[test]
    fn gives_the_codes_of_rfc_6238() {
        let seed = b"1234567890".repeat(7);
        let times = [59, 1_111_111_109, 1_111_111_111, 1_234_567_890, 2_000_000_000, 20_000_000_000];
        for (algorithm, bytes, codes) in [
            (
                TotpAlgorithm::Sha1,
                20,
                ["94287082", "07081804", "14050471", "89005924", "69279037", "65353130"],
            ),
            (
                TotpAlgorithm::Sha256,
                32,
                ["46119246", "68084774", "67062674", "91819424", "90698825", "77737706"],
            ),
            (
                TotpAlgorithm::Sha512,
                64,
                ["90693936", "25091201", "99943326", "93441116", "38618901", "47863826"],
            ),
        ] {
            for (time, code) in times.into_iter().zip(codes) {
                let seed = seed.get(..bytes).unwrap();
                assert_eq!(totp(algorithm, seed, 8).unwrap().generate(time).to_string(), code);
                // Six digits are the last ones of eight.
                let six = code.get(2..).unwrap();
                let found = matching_step(algorithm, seed, six, time, TotpWindow::default()).unwrap();
                assert_eq!(found, Some(time / STEP), "{algorithm:?} at {time}");
            }
        }
    }

    /// RFC 4226, appendix D: a step is a counter.
    #[test]
    fn gives_the_codes_of_rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (counter, code) in (0..).zip(codes) {
            let none = TotpWindow { behind: 0, ahead: 0 };
            let at = |step: u64| {
                matching_step(TotpAlgorithm::Sha1, b"12345678901234567890", code, step * STEP, none).unwrap()
            };
            assert_eq!(at(counter), Some(counter));
            assert_eq!(at(counter + 1), None);
        }
    }

    #[test]
    fn the_window_is_as_wide_as_it_says() {
        let (seed, now) = ([7; SEED], 1_000_000 * STEP);
        let code =
            |step: u64| totp(TotpAlgorithm::Sha1, &seed, DIGITS).unwrap().generate(step * STEP).to_string();
        let accepted = |window: TotpWindow, second: u64| -> Vec<u64> {
            (999_990..1_000_010)
                .filter(|step| {
                    let found = matching_step(TotpAlgorithm::Sha1, &seed, &code(*step), now + second, window);
                    found.unwrap().is_some()
                })
                .collect()
        };
        for second in [0, STEP - 1] {
            assert_eq!(accepted(TotpWindow::default(), second), [999_999, 1_000_000]);
            assert_eq!(accepted(TotpWindow { behind: 0, ahead: 0 }, second), [1_000_000]);
            assert_eq!(accepted(TotpWindow { behind: 1, ahead: 1 }, second), [999_999, 1_000_000, 1_000_001]);
        }
        assert_eq!(accepted(TotpWindow::default(), STEP), [1_000_000, 1_000_001]);
    }

    #[test]
    fn only_six_plain_digits_are_a_code() {
        let seed = [0; SEED];
        let code = totp(TotpAlgorithm::Sha1, &seed, DIGITS).unwrap().generate(0).to_string();
        let wide: String = code.chars().map(|c| char::from_u32(c as u32 + 0xFEE0).unwrap()).collect();
        for bad in
            ["", "12345", "+12345", &format!(" {code}"), &format!("{code} "), &format!("{code}0"), &wide]
        {
            assert_eq!(
                matching_step(TotpAlgorithm::Sha1, &seed, bad, 0, TotpWindow::default()).unwrap(),
                None
            );
        }
        assert!(matching_step(TotpAlgorithm::Sha1, &[1; 4], "123456", 0, TotpWindow::default()).is_err());
    }

    #[test]
    fn a_uri_escapes_what_it_must() {
        let uri = provisioning_uri(TotpAlgorithm::Sha1, &[0xAB; SEED], "Gate & Co", "ada:l@example.org");
        assert_eq!(
            uri.as_str(),
            "otpauth://totp/Gate%20%26%20Co:ada%3Al%40example.org?secret=VOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5L\
             &issuer=Gate%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
