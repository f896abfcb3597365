//! What a caller asks for: a new user, or a change to one.

use super::{Attributes, NewContact, Status, Value};
use crate::clock::Timestamp;
use crate::id::{ScopeId, Stamp};
use crate::secret::SecretText;

/// A user to be created: a login name and whatever else is known.
///
/// ```
/// use portcullis::NewUser;
/// let ada = NewUser::new("ada").email("ada@example.org").password("correct horse battery staple");
/// assert!(!format!("{ada:?}").contains("staple"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewUser {
    pub(crate) login: String,
    pub(crate) password: Option<SecretText>,
    /// What another system stored of the password.
    pub(crate) password_hash: Option<SecretText>,
    pub(crate) must_change: bool,
    /// When the account was made, where that was elsewhere.
    pub(crate) created: Option<Timestamp>,
    pub(crate) contacts: Vec<NewContact>,
    pub(crate) profile: Attributes,
    pub(crate) preferences: Attributes,
    pub(crate) status: Status,
    pub(crate) home: ScopeId,
    pub(crate) service: bool,
}

impl NewUser {
    /// An active user of that login name. Without a password it can not log in by one.
    ///
    /// A login name has at most 128 bytes: letters and digits of any script in Unicode 6.3 with the marks that they are
    /// written with, and printable ASCII but the space. It is compared by the PRECIS profile UsernameCaseMapped (RFC
    /// 8265): case, width and composed or decomposed letters make no difference. It is kept as it was given.
    pub fn new(login: impl Into<String>) -> Self {
        Self {
            login: login.into(),
            password: None,
            password_hash: None,
            must_change: false,
            created: None,
            contacts: Vec::new(),
            profile: Attributes::new(),
            preferences: Attributes::new(),
            status: Status::active(),
            home: ScopeId::ROOT,
            service: false,
        }
    }

    /// Sets the password: any characters, as many as the [policy](crate::PasswordPolicy) asks for and 1,024 bytes at most.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(SecretText::new(password));
        self
    }

    /// Sets what another system stored of the password, instead of the password itself, so that the user logs in with the
    /// one that is known there, however short. The first login that succeeds makes it an Argon2id hash of the present
    /// cost.
    ///
    /// Argon2id of version 19 with 32 bytes is always taken; what else is, the feature `legacy` says. No rule for new
    /// passwords is applied to it, so that a [delegated](crate::Portcullis::delegated) handle is refused.
    pub fn password_hash(mut self, stored: impl Into<String>) -> Self {
        self.password_hash = Some(SecretText::new(stored));
        self
    }

    /// The user has to choose another password at the next login.
    pub fn must_change_password(mut self) -> Self {
        self.must_change = true;
        self
    }

    /// Adds an e-mail address.
    pub fn email(self, address: impl Into<String>) -> Self {
        self.contact(NewContact::email(address))
    }

    /// Adds a contact detail; at most 16 at creation, any number later.
    pub fn contact(mut self, contact: NewContact) -> Self {
        self.contacts.push(contact);
        self
    }

    /// Sets a value of the profile.
    pub fn profile(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.profile.insert(name.into(), value.into());
        self
    }

    /// Sets a preference.
    pub fn preference(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.preferences.insert(name.into(), value.into());
        self
    }

    /// Is at home at a scope: those to whom the administration of users is delegated there may administer this one. The
    /// default is the global scope.
    pub fn home(mut self, scope: ScopeId) -> Self {
        self.home = scope;
        self
    }

    /// Is a program and nobody who logs in: it may hold roles and [API keys](crate::ApiKeys), and has no password, no second
    /// factor, no passkey, no invitation and no magic link. It stays one for good.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let robot = gate.users().create(NewUser::new("robot").service_account())?;
    /// assert!(robot.service_account);
    /// assert!(gate.users().set_password(robot.id, "correct horse battery staple").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn service_account(mut self) -> Self {
        self.service = true;
        self
    }

    /// Starts in another status than active.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }
}

/// A change to a user: what is set here changes, all of it or nothing.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct UserChange {
    pub(crate) expect: Option<Stamp>,
    pub(crate) login: Option<String>,
    pub(crate) profile: Option<Attributes>,
    pub(crate) preferences: Option<Attributes>,
    pub(crate) home: Option<ScopeId>,
}

impl UserChange {
    /// A change that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the change with a conflict unless the user still has this stamp.
    pub fn expect(mut self, stamp: Stamp) -> Self {
        self.expect = Some(stamp);
        self
    }

    /// Renames the user.
    pub fn login(mut self, login: impl Into<String>) -> Self {
        self.login = Some(login.into());
        self
    }

    /// Gives the user another home.
    pub fn home(mut self, scope: ScopeId) -> Self {
        self.home = Some(scope);
        self
    }

    /// Replaces the whole profile.
    pub fn profile(mut self, profile: Attributes) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Replaces all preferences.
    pub fn preferences(mut self, preferences: Attributes) -> Self {
        self.preferences = Some(preferences);
        self
    }
}
