//! Why a holder does not believe a token.

use std::fmt;

/// Why a signed token, or a feed of revocations, is not believed. The client needs to hear no more than that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is longer than anything that is issued, and was not looked at.
    TooLong,
    /// It has not the form in which tokens are issued, or says what no token says.
    Malformed,
    /// Its header names another algorithm than EdDSA.
    Algorithm,
    /// It was signed for another use: a feed is no access token, and no other document is either.
    Type,
    /// It names a key that is not known here. Where keys have been changed lately, read the document of public keys again.
    Key,
    /// The signature is not that of the key that the token names.
    Signature,
    /// Another one has issued it.
    Issuer,
    /// It is meant for another service.
    Audience,
    /// Its time is over.
    Expired,
    /// Its time has not come, so that one of the two clocks is wrong.
    NotYetValid,
    /// Its session has ended.
    Revoked,
    /// No feed of revocations was taken in for too long, so that nobody knows.
    NoFeed,
    /// A newer feed of revocations was taken in before.
    OlderFeed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is longer than any that is issued",
            Self::Malformed => "the token has not the form in which tokens are issued",
            Self::Algorithm => "the token names another algorithm than EdDSA",
            Self::Type => "the token was signed for another use",
            Self::Key => "the token names a key that is not known; read the public keys again",
            Self::Signature => "the signature is not right",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is meant for another service",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet; compare the clocks",
            Self::Revoked => "the session of the token has ended",
            Self::NoFeed => "the feed of revocations is missing or too old; read it again",
            Self::OlderFeed => "a newer feed of revocations was read before",
        })
    }
}

impl std::error::Error for Refusal {}
