//! Passkeys in a login: as its second step, or alone.

use super::LoginStep;
use super::answer::{Answer, under_way};
use super::proved::Proved;
use super::refusal::Refusal;
use crate::assurance::{Method, Methods};
use crate::audit::Actor;
use crate::challenge::{ChallengeRecord, Step};
use crate::engine::passkeys::{Assertion, PasskeyProof, PasskeyRefusal, Passkeys};
use crate::engine::throttle::Attempt;
use crate::engine::{Engine, Portcullis};
use crate::error::{Denial, Error, Result};
use crate::session::Client;

/// A login by passkey that somebody may go on with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PasskeyLogin {
    /// For the browser: `navigator.credentials.get` takes them, parsed by
    /// `PublicKeyCredential.parseRequestOptionsFromJSON`.
    pub options: String,
    /// To be handed back with the answer; good once, for the timeout of the
    /// [settings](crate::PasskeySettings). Whoever has it can do nothing without the passkey.
    pub ticket: String,
}

impl Passkeys<'_> {
    /// Begins a login in which the passkey says who comes: without a name, and without a password. It writes nothing.
    ///
    /// # Errors
    /// `InvalidInput` where no relying party is set; the storage kinds.
    pub fn start_login(&self) -> Result<PasskeyLogin> {
        let (options, ticket) = self.gate.engine().start_passkey_login()?;
        Ok(PasskeyLogin { options, ticket })
    }

    /// Goes on with a login by passkey, with what the browser answered. The authenticator must have verified its user: so
    /// the session is one of two factors.
    ///
    /// # Errors
    /// `InvalidInput` for an answer above 16 KiB, before it is looked at, and for a client detail that breaks a rule; the
    /// storage kinds. Refusals are [`LoginStep::Denied`]: [`Denial::Credentials`] whatever is wrong.
    ///
    /// ```no_run
    /// # fn main() -> portcullis::Result<()> {
    /// # fn answer_of_the_browser(_: &str) -> String { String::new() }
    /// use portcullis::{Client, PasskeySettings, Portcullis};
    /// let settings = PasskeySettings::new("example.org", ["https://login.example.org"]);
    /// let gate = Portcullis::builder().passkeys(settings).in_memory()?;
    /// let started = gate.passkeys().start_login()?;
    /// // The browser runs
    /// //   const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    /// //   const credential = await navigator.credentials.get({ publicKey });
    /// // and sends back JSON.stringify(credential.toJSON()).
    /// let response = answer_of_the_browser(&started.options);
    /// let login = gate.passkeys().finish_login(&started.ticket, &response, &Client::new())?.done()?;
    /// # drop(login);
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish_login(&self, ticket: &str, response: &str, client: &Client) -> Result<LoginStep> {
        client.check()?;
        let engine = self.gate.engine();
        // Nobody guesses a signature; but everything that is refused is written down, and somebody may want that.
        let admission = match engine.admit(&Attempt::token(client))? {
            Ok(admission) => admission,
            Err(denial) => return Ok(LoginStep::Denied(denial)),
        };
        let assertion = match engine.check_passkey_login(ticket, response)? {
            Ok(assertion) => assertion,
            Err(refusal) => {
                let refusal = Refusal::Passkey(refusal.detail());
                return engine.refuse(None, &refusal, Methods::NONE, client, Some(&admission));
            }
        };
        let proved = Proved {
            user: assertion.user(),
            revision: None,
            methods: Methods::NONE,
            verified: None,
            roles: None,
            replaces: None,
            answered: None,
            link: None,
            assertion: Some(&assertion),
            admission: None,
        };
        let step = engine.proceed(&proved, client, true)?;
        drop(admission);
        Ok(step)
    }
}

impl Answer {
    /// What a browser answered to the options of [`Portcullis::ask_for_passkey`]: a credential as JSON, at most 16 KiB.
    pub fn passkey(response: impl Into<String>) -> Self {
        Self::of_passkey(response.into())
    }
}

impl Portcullis {
    /// Asks a user whose login is under way for a passkey: options for the browser, whose answer is
    /// [`Answer::passkey`]. They take the place of those that were asked for before.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Challenge`] where the token names no login under way that asks for a factor; `NotFound`
    /// where the user has no passkey that could answer; `InvalidInput` where no relying party is set; the storage kinds.
    pub fn ask_for_passkey(&self, challenge: impl AsRef<str>) -> Result<String> {
        let engine = self.engine();
        let ended = || Error::denied(Denial::Challenge);
        let found = engine.challenge(challenge.as_ref())?;
        let found = found.filter(|found| found.record.step == Step::Factor).ok_or_else(ended)?;
        let user = found.record.user;
        let (options, state) = engine
            .start_assertion(user)?
            .ok_or_else(|| Error::not_found("passkey", format_args!("one of {user} that could be used")))?;
        engine.write(Actor::User(user), |plan| {
            let live = under_way(plan, &found)?;
            let assertion = Some(state.clone());
            plan.batch.replace(&live, &ChallengeRecord { assertion, ..live.record.clone() })
        })?;
        Ok(options)
    }
}

impl Engine {
    /// Verifies the answer to what this login asked last.
    pub(super) fn passkey_is(
        &self,
        challenge: &ChallengeRecord,
        response: &str,
    ) -> Result<Result<Assertion, PasskeyRefusal>> {
        match &challenge.assertion {
            Some(state) => self.check_assertion(state, response),
            None => Ok(Err(PasskeyRefusal::Unknown)),
        }
    }
}

/// A passkey whose authenticator has verified its user is two factors in one.
pub(super) fn with_passkey(methods: Methods, proof: PasskeyProof) -> Methods {
    match proof.user_verified {
        true => methods.with(Method::Passkey).with(Method::VerifiedPasskey),
        false => methods.with(Method::Passkey),
    }
}
