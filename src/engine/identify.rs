//! Who is meant by what somebody typed to log in.

use super::Engine;
use crate::error::Result;
use crate::store::{self, Stored};
use crate::text;
use crate::user::{self, UserRecord};

impl Engine {
    /// The user who has verified that e-mail address, or else has that login name. No two users can be meant: nobody may
    /// take a name that is another's verified address, or verify what is another's name.
    ///
    /// What can be neither is as unknown as what nobody has. Either way it takes a few point reads, some microseconds
    /// beside the milliseconds of the hash that follows.
    pub(super) fn user_to_log_in(&self, login: &str) -> Result<Option<Stored<UserRecord>>> {
        if let Some(user) = user::find_by_verified_email(&*self.store, login, self.names)? {
            return Ok(Some(user));
        }
        match text::canonical_login(login) {
            Ok(canonical) => store::find(&*self.store, user::USER_BY_LOGIN, &store::index_prefix(&canonical)),
            Err(_) => Ok(None),
        }
    }
}
