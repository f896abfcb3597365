//! How long one-time tokens live.

use super::TicketPurpose;
use crate::error::{Error, Result};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long one-time tokens live that are issued from now on.
///
/// | purpose | default | longest | why |
/// |---|---|---|---|
/// | e-mail verification, e-mail change | 24 hours | 24 hours | the longest that NIST SP 800-63B-4, section 4.2.1.2, allows a code that is sent by e-mail |
/// | password reset | 1 hour | 24 hours | the same limit; whoever asked is waiting for it |
/// | magic link | 10 minutes | 10 minutes | it logs in, so that it is an out-of-band secret (OWASP ASVS 5.0 6.5.5, NIST section 3.1.3.2) |
/// | invitation | 7 days | 30 days | who is invited does not wait for it; nothing is behind it but a new account |
///
/// Each is at least one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TicketLives {
    verification: Duration,
    reset: Duration,
    invitation: Duration,
    link: Duration,
}

impl TicketLives {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            verification: Duration::from_secs(DAY),
            reset: Duration::from_secs(HOUR),
            invitation: Duration::from_secs(7 * DAY),
            link: Duration::from_secs(10 * MINUTE),
        }
    }

    /// Lets tokens of one purpose live so long. Verification and change of an e-mail address share their life.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for less than a minute, or more than the longest life of
    /// that purpose.
    pub fn with(mut self, purpose: TicketPurpose, life: Duration) -> Result<Self> {
        let longest = Duration::from_secs(match purpose {
            TicketPurpose::EmailVerification | TicketPurpose::EmailChange | TicketPurpose::PasswordReset => {
                DAY
            }
            TicketPurpose::Invitation => 30 * DAY,
            TicketPurpose::MagicLink => 10 * MINUTE,
        });
        if life < Duration::from_secs(MINUTE) || life > longest {
            return Err(Error::invalid(
                "ticket_lives",
                format!(
                    "{life:?} for {purpose} is not from 1 minute to {} minutes",
                    longest.as_secs() / MINUTE
                ),
            ));
        }
        *match purpose {
            TicketPurpose::EmailVerification | TicketPurpose::EmailChange => &mut self.verification,
            TicketPurpose::PasswordReset => &mut self.reset,
            TicketPurpose::Invitation => &mut self.invitation,
            TicketPurpose::MagicLink => &mut self.link,
        } = life;
        Ok(self)
    }

    /// How long a token of that purpose lives.
    #[must_use]
    pub const fn of(&self, purpose: TicketPurpose) -> Duration {
        match purpose {
            TicketPurpose::EmailVerification | TicketPurpose::EmailChange => self.verification,
            TicketPurpose::PasswordReset => self.reset,
            TicketPurpose::Invitation => self.invitation,
            TicketPurpose::MagicLink => self.link,
        }
    }
}

impl Default for TicketLives {
    fn default() -> Self {
        Self::new()
    }
}
