//! How long ago, and how surely, a principal has proved who it is.

use super::principal::Principal;
use super::{Engine, sessions};
use crate::assurance::Assurance;
use crate::error::{Denial, Error, ErrorKind, Result};
use crate::session::SessionRecord;
use std::time::Duration;

/// These read the session's row, some microseconds from the disk's cache: for what is worth a question of its own, and not
/// for every request. To be authenticated within some minutes says that the user was there; an accepted token does not (NIST
/// SP 800-63B-4, section 5.1.2).
impl Principal<'_> {
    /// Whether the user has proved within that time who they are, by anything that logs in.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the session has ended; the storage kinds.
    pub fn authenticated_within(&self, age: Duration) -> Result<bool> {
        let session = self.row()?;
        Ok(self.engine().now().since(session.authenticated) < age)
    }

    /// As [`authenticated_within`](Self::authenticated_within), to be used with `?` before what is sensitive (OWASP ASVS 5.0,
    /// 7.5.1).
    ///
    /// # Errors
    /// `Denied` with [`Denial::Reauthentication`] where it is longer ago, and with [`Denial::Session`] where the session has
    /// ended; the storage kinds.
    pub fn require_recent(&self, age: Duration) -> Result<()> {
        match self.authenticated_within(age)? {
            true => Ok(()),
            false => Err(Error::denied(Denial::Reauthentication)),
        }
    }

    /// How sure it is now that the user is who they are: two factors count for as long as
    /// [`Builder::assurance_age`](crate::Builder::assurance_age) says after they were proved.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`] where the session has ended; the storage kinds.
    pub fn assurance(&self) -> Result<Assurance> {
        let session = self.row()?;
        let fresh = session.elevated.is_some_and(|proved| self.engine().is_fresh(proved));
        Ok(if fresh { session.methods.assurance() } else { Assurance::One })
    }

    /// As [`assurance`](Self::assurance), to be used with `?` before what is very sensitive (OWASP ASVS 5.0, 7.5.3).
    ///
    /// # Errors
    /// `Denied` with [`Denial::Reauthentication`] where it is less sure, and with [`Denial::Session`] where the session has
    /// ended; the storage kinds.
    pub fn require_assurance(&self, level: Assurance) -> Result<()> {
        match self.assurance()? >= level {
            true => Ok(()),
            false => Err(Error::denied(Denial::Reauthentication)),
        }
    }

    fn engine(&self) -> &Engine {
        self.gate.engine()
    }

    fn row(&self) -> Result<SessionRecord> {
        match sessions::read_live_session(self.engine(), self.session()) {
            Ok(found) => Ok(found.record),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::denied(Denial::Session)),
            Err(error) => Err(error),
        }
    }
}
