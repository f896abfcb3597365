//! The read path of keys, which is that of sessions.

use crate::crypto::Purpose;
use crate::engine::accept::Accepted;
use crate::engine::principal::Principal;
use crate::engine::{Engine, Portcullis};
use crate::error::{Error, Result, RetryAfter};
use crate::id::SessionId;
use crate::session::Client;

impl Portcullis {
    /// Accepts an API key: the way of [`authenticate`](Self::authenticate) at the same cost, for keys and nothing else. A
    /// session token is refused here, and a key there.
    ///
    /// It counts as a use of the key. The principal may do what the key's owner may do at the moment of each question, within
    /// the limits of the key.
    ///
    /// # Errors
    /// `Denied` with [`Denial::ApiKey`](crate::Denial::ApiKey) for what is no live key, whatever is wrong with it; `RateLimited`, which is no denial,
    /// with the time to wait in [`Error::retry_after`], for a key that is good and was used too often; `Stopped` after a
    /// storage failure.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{ErrorKind, NewApiKey, NewUser, Portcullis, RateLimit};
    /// use std::time::Duration;
    /// let gate = Portcullis::in_memory()?;
    /// let [read, write] = [gate.permissions().define("report:read")?, gate.permissions().define("report:write")?];
    /// let author = gate.roles().create("author", [read, write])?;
    /// let robot = gate.users().create(NewUser::new("robot").service_account())?.id;
    /// gate.roles().assign(robot, author)?;
    /// let limit = RateLimit::new(1, Duration::from_secs(60))?;
    /// let made = gate.api_keys().create(robot, NewApiKey::new("nightly").only([read]).rate(limit))?;
    ///
    /// let principal = gate.authenticate_key(&made.token)?;
    /// assert!(principal.can(read) && !principal.can(write));
    /// let error = gate.authenticate_key(&made.token).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::RateLimited);
    /// assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(60)));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn authenticate_key(&self, key: impl AsRef<str>) -> Result<Principal<'_>> {
        let accepted = self.engine().accept_key(key.as_ref(), None)?;
        Ok(self.principal(accepted, None))
    }

    /// As [`authenticate_key`](Self::authenticate_key), with where this request comes from, for
    /// [context rules](crate::ContextRule).
    ///
    /// # Errors
    /// As [`authenticate_key`](Self::authenticate_key).
    #[inline]
    pub fn authenticate_key_from<'g>(
        &'g self,
        key: impl AsRef<str>,
        client: &'g Client,
    ) -> Result<Principal<'g>> {
        let accepted = self.engine().accept_key(key.as_ref(), Some(client))?;
        Ok(self.principal(accepted, Some(client)))
    }
}

impl Engine {
    fn accept_key(&self, key: &str, client: Option<&Client>) -> Result<Accepted> {
        self.use_token(Purpose::ApiKey, key, client)
    }

    /// One request less for a key that has a limit.
    pub(in crate::engine) fn take_request(&self, key: SessionId) -> Result<()> {
        match self.view.take_request(key, self.now()) {
            Some(taken) => taken.map_err(|wait| Error::rate_limited(RetryAfter::rounded_up(wait))),
            // A limit goes after the line does: without one the key has ended since.
            None => Err(self.refuse_token(Purpose::ApiKey)),
        }
    }
}
