//! What was proved in a login so far.

use crate::assurance::{Method, Methods};
use crate::challenge::ChallengeRecord;
#[cfg(feature = "passkeys")]
use crate::engine::passkeys::Assertion;
use crate::engine::passwords::Prepared;
use crate::engine::throttle::Admission;
use crate::engine::tickets::PresentedLink;
use crate::id::{FactorId, RoleId, SessionId, UserId};
use crate::store::Stored;

/// What somebody has proved in one login, and from which state of the account.
pub(in crate::engine) struct Proved<'p> {
    pub(in crate::engine) user: UserId,
    /// The revision of the password that was verified, where one was.
    pub(in crate::engine) revision: Option<u32>,
    pub(in crate::engine) methods: Methods,
    /// The password that was verified in this step, and its hash.
    pub(in crate::engine) verified: Option<(&'p str, String)>,
    pub(in crate::engine) roles: Option<Vec<RoleId>>,
    /// The session that the new one is to take the place of: what was proved in it may be among `methods`.
    pub(in crate::engine) replaces: Option<SessionId>,
    /// The challenge that is answered, and what with. It is spent by the right answer.
    pub(in crate::engine) answered: Option<(Stored<ChallengeRecord>, Entered<'p>)>,
    /// The magic link that was presented, which is spent by this step.
    pub(in crate::engine) link: Option<PresentedLink<'p>>,
    /// The passkey that says who comes, where that is how the login began.
    #[cfg(feature = "passkeys")]
    pub(in crate::engine) assertion: Option<&'p Assertion>,
    /// The right to try what was proved in this step, where it could be guessed.
    pub(in crate::engine) admission: Option<Admission<'p>>,
}

/// What a challenge is answered with.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Entered<'p> {
    /// A code that is still to be checked.
    Totp(&'p str),
    /// A code that is still to be checked.
    RecoveryCode(&'p str),
    /// The code that was sent to that factor, found right.
    SentCode(FactorId),
    /// A password that keeps the rules.
    NewPassword(&'p Prepared),
    /// A passkey whose signature was found right.
    #[cfg(feature = "passkeys")]
    Passkey(&'p Assertion),
}

impl Entered<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Totp(_) => Method::Totp.name(),
            Self::RecoveryCode(_) => Method::RecoveryCode.name(),
            Self::SentCode(_) => "sent code",
            Self::NewPassword(_) => "new password",
            #[cfg(feature = "passkeys")]
            Self::Passkey(_) => Method::Passkey.name(),
        }
    }
}
