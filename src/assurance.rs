//! How somebody proved who they are, and how sure that makes us.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Method {
    /// A password.
    Password = 1 << 0,
    /// A code of an authenticator app (RFC 6238).
    Totp = 1 << 1,
    /// One of the recovery codes that the user has kept.
    RecoveryCode = 1 << 2,
    /// A code that was sent to an e-mail address of the user.
    EmailCode = 1 << 3,
    /// A code that was sent to a telephone number of the user.
    SmsCode = 1 << 4,
    /// A passkey, without the authenticator having verified its user.
    Passkey = 1 << 5,
    /// A passkey whose authenticator has verified its user, by a PIN or a finger: two factors in one.
    VerifiedPasskey = 1 << 6,
    /// A link that was sent to an e-mail address of the user.
    MagicLink = 1 << 7,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 8] = [
        Self::Password,
        Self::Totp,
        Self::RecoveryCode,
        Self::EmailCode,
        Self::SmsCode,
        Self::Passkey,
        Self::VerifiedPasskey,
        Self::MagicLink,
    ];

    /// The stable name, such as `totp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::EmailCode => "email_code",
            Self::SmsCode => "sms_code",
            Self::Passkey => "passkey",
            Self::VerifiedPasskey => "verified_passkey",
            Self::MagicLink => "magic_link",
        }
    }

    /// Whether it can be the second step of a login.
    #[must_use]
    pub const fn is_second_step(self) -> bool {
        !matches!(self, Self::Password | Self::MagicLink)
    }

    /// Whether it is something that one has, in the sense of NIST SP 800-63B-4: so that with a password it makes two
    /// factors. A mailbox is not (section 3.1.3.1).
    const fn is_possession(self) -> bool {
        matches!(
            self,
            Self::Totp | Self::RecoveryCode | Self::SmsCode | Self::Passkey | Self::VerifiedPasskey
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of methods.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[must_use]
pub struct Methods(u16);

impl Methods {
    /// None.
    pub const NONE: Self = Self(0);

    /// One method.
    pub const fn of(method: Method) -> Self {
        Self(method as u16)
    }

    /// These and one more.
    pub const fn with(self, method: Method) -> Self {
        Self(self.0 | method as u16)
    }

    /// Whether the method is among them.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 & method as u16 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contains(*method))
    }

    /// How sure they make us together.
    pub fn assurance(self) -> Assurance {
        let knows = self.contains(Method::Password);
        let has = self.iter().any(Method::is_possession);
        if self.contains(Method::VerifiedPasskey) || (knows && has) { Assurance::Two } else { Assurance::One }
    }

    /// Whether a second step was made; a verified passkey is one by itself.
    pub(crate) fn has_second_step(self) -> bool {
        self.contains(Method::VerifiedPasskey)
            || (self.iter().any(Method::is_second_step) && self.iter().count() > 1)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The names, joined by `+`.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, method) in self.iter().enumerate() {
            write!(f, "{}{method}", if number > 0 { "+" } else { "" })?;
        }
        Ok(())
    }
}

/// The authentication assurance level of a session (NIST SP 800-63B-4, section 2).
///
/// Level 3 asks for an authenticator whose key cannot be exported, which cannot be known without attestation: so it is
/// never claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Assurance {
    /// One factor.
    #[default]
    One,
    /// Two different factors.
    Two,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_factors_are_something_known_and_something_had() {
        use Method as M;
        let level = |methods: &[M]| methods.iter().fold(Methods::NONE, |all, m| all.with(*m)).assurance();
        for method in M::ALL {
            let alone = if method == M::VerifiedPasskey { Assurance::Two } else { Assurance::One };
            assert_eq!(level(&[method]), alone, "{method}");
        }
        for second in [M::Totp, M::RecoveryCode, M::SmsCode, M::Passkey, M::VerifiedPasskey] {
            assert_eq!(level(&[M::Password, second]), Assurance::Two, "{second}");
        }
        for same in [&[M::Password, M::EmailCode][..], &[M::MagicLink, M::EmailCode], &[M::Totp, M::SmsCode]]
        {
            assert_eq!(level(same), Assurance::One, "{same:?}");
        }
    }

    #[test]
    fn methods_print_by_name_and_are_bits_of_their_own() {
        let methods = Methods::of(Method::Password).with(Method::Totp);
        assert_eq!(methods.to_string(), "password+totp");
        assert_eq!(format!("{methods:?}"), "{Password, Totp}");
        assert!(Methods::NONE.is_empty() && !methods.is_empty());
        let all = Method::ALL.into_iter().fold(0u16, |bits, method| {
            assert_eq!(bits & method as u16, 0, "{method}");
            bits | method as u16
        });
        assert_eq!(all.count_ones() as usize, Method::ALL.len());
    }
}
