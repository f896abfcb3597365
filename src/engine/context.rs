//! Rules of the application that every decision must pass: they look at where, when and from what somebody asks.

use super::Engine;
use super::login::{Refusal, status_detail};
use super::view::Answer;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{ApiKeyId, ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::session::{Client, SessionRecord};
use crate::store;
use crate::user::UserRecord;
use std::fmt;
use std::sync::Arc;

/// A rule about the circumstances of a decision: the hour, the address, the device, a risk score (OWASP ASVS 5.0
/// 8.2.4). Give it to [`Builder::context_rule`](crate::Builder::context_rule). A closure is one, where it names the type of
/// its argument.
///
/// It is asked after the engine has said yes, and can only take the yes away; where the engine says no it is not asked. It
/// is asked
/// - at a login, once the password was verified and before there is a session; its refusal looks like any other failed
///   login, and the audit record names the rule;
/// - when a token is authenticated; its refusal is [`Denial::Session`](crate::Denial::Session), and is no use of the
///   session;
/// - when somebody begins to act as another user;
/// - at each check of a permission, of a principal or of a user, for each permission of a set, and for both where one
///   acts on behalf of the other (the subject is then a user without a session or client); its refusal is
///   [`Denial::Permission`](crate::Denial::Permission), as if the permission were not granted: who asks learns nothing
///   about the rule.
///
/// It is not asked by [`Review`](crate::Review), which tells what is granted.
///
/// It runs on the thread that asks, with no lock held: it may be slow at its own expense, and may call the database. A
/// check that it makes asks the rules again; see to it that this ends. A panic in it goes through to whoever asked, and
/// leaves nothing allowed, stored or locked. Without a rule a check pays for one branch.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{CheckContext, Client, NewUser, Portcullis};
/// let gate = Portcullis::builder()
///     // From inside only, wherever the caller says where from.
///     .context_rule(|context: &CheckContext<'_>| match context.client().and_then(Client::source) {
///         Some(address) => address.is_loopback(),
///         None => context.session().is_none(),
///     })
///     .danger_fast_password_hashes() // for this test only
///     .in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let (inside, outside) = (Client::new().ip([127, 0, 0, 1].into()), Client::new().ip([192, 0, 2, 1].into()));
/// let credentials = portcullis::Credentials::password("ada", "correct horse battery staple");
/// assert!(gate.login(&credentials, &outside).is_err_and(|e| e.is_denied()));
/// let login = gate.login(&credentials, &inside)?;
/// assert!(gate.authenticate_from(login.token(), &inside).is_ok());
/// assert!(gate.authenticate_from(login.token(), &outside).is_err_and(|e| e.is_denied()));
/// assert!(gate.authenticate(login.token()).is_err()); // this rule wants to know
/// # Ok(())
/// # }
/// ```
pub trait ContextRule: Send + Sync {
    /// Whether the decision may stay a yes.
    fn permits(&self, context: &CheckContext<'_>) -> bool;
}

impl<F: Fn(&CheckContext<'_>) -> bool + Send + Sync> ContextRule for F {
    fn permits(&self, context: &CheckContext<'_>) -> bool {
        self(context)
    }
}

/// What is being decided, as a [`ContextRule`] is told.
#[non_exhaustive]
pub struct CheckContext<'c> {
    engine: &'c Engine,
    asker: Asker<'c>,
    permission: Option<Permission>,
    scope: ScopeId,
    time: Timestamp,
}

impl CheckContext<'_> {
    /// Who would be allowed.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.asker.user
    }

    /// The API key that asks, where it is one.
    #[must_use]
    pub const fn key(&self) -> Option<ApiKeyId> {
        self.asker.key
    }

    /// The session that asks; `None` at a login, for an API key, and where a user is checked without one.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        self.asker.session
    }

    /// Who acts as [`user`](Self::user), where somebody else does. The rules are then asked about that one as well, as
    /// `user` in the session behind.
    #[must_use]
    pub const fn impersonator(&self) -> Option<UserId> {
        self.asker.impersonator
    }

    /// What would be allowed; `None` at a login, when a token is authenticated, and for an empty set of permissions.
    #[must_use]
    pub const fn permission(&self) -> Option<Permission> {
        self.permission
    }

    /// Where; [`ScopeId::ROOT`] for everywhere.
    #[must_use]
    pub const fn scope(&self) -> ScopeId {
        self.scope
    }

    /// The time by which decisions are made.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Where the login or request comes from, in the caller's words, which nobody has checked. `None` for a principal of
    /// [`authenticate`](crate::Portcullis::authenticate) and where a user is checked.
    #[must_use]
    pub const fn client(&self) -> Option<&Client> {
        self.asker.client
    }

    /// Where the session was opened from, read from the store: microseconds, where a check takes nanoseconds. `None` without
    /// a session, and for one that ended a moment ago.
    ///
    /// # Errors
    /// The storage kinds.
    pub fn opened_from(&self) -> Result<Option<Client>> {
        let Some(session) = self.asker.session else { return Ok(None) };
        let found = store::read::<SessionRecord>(&*self.engine.store, &session)?;
        Ok(found.map(|found| {
            let SessionRecord { device, ip, user_agent, .. } = found.record;
            Client { device, ip, user_agent, ..Client::default() }
        }))
    }
}

impl fmt::Debug for CheckContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckContext")
            .field("user", &self.user())
            .field("session", &self.session())
            .field("impersonator", &self.impersonator())
            .field("key", &self.key())
            .field("permission", &self.permission)
            .field("scope", &self.scope)
            .field("time", &self.time)
            .field("client", &self.client())
            .finish()
    }
}

/// Who asks, and from where.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) key: Option<ApiKeyId>,
    pub(super) client: Option<&'a Client>,
    pub(super) impersonator: Option<UserId>,
}

impl Asker<'_> {
    /// A user of whom nothing else is known.
    pub(super) const fn user(user: UserId) -> Self {
        Self { user, session: None, key: None, client: None, impersonator: None }
    }
}

/// The rules of a database, in the order in which they were given.
#[derive(Clone, Default)]
pub(super) struct Rules(Vec<Arc<dyn ContextRule>>);

impl Rules {
    pub(super) fn add(&mut self, rule: impl ContextRule + 'static) {
        self.0.push(Arc::new(rule));
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} context rules", self.0.len())
    }
}

impl Engine {
    /// Whether there are rules at all.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.0.is_empty()
    }

    /// The engine's answer, or a refusal where it is a yes that a rule takes away.
    // Who asks is put together where there is a rule only: without one it would be the dearest part.
    #[inline]
    pub(super) fn in_context<'a>(
        &self,
        answer: Answer,
        asker: impl FnOnce() -> Asker<'a>,
        permission: Option<Permission>,
        scope: ScopeId,
    ) -> Answer {
        if answer != Answer::Allow || self.rules.0.is_empty() {
            return answer;
        }
        self.ask_rules(asker(), permission, scope).map_or(answer, |_| Answer::Deny)
    }

    /// The same for a set of permissions: a rule is asked for each of them, and once for none.
    #[inline]
    pub(super) fn in_context_of_all<'a>(
        &self,
        answer: Answer,
        asker: impl FnOnce() -> Asker<'a>,
        permissions: &PermissionSet,
        scope: ScopeId,
    ) -> Answer {
        if answer != Answer::Allow || self.rules.0.is_empty() {
            return answer;
        }
        let asker = asker();
        let mut each = permissions.iter().map(Some);
        let nothing = permissions.is_empty().then_some(None);
        let refused = |permission| self.ask_rules(asker, permission, scope).is_some();
        if nothing.into_iter().chain(&mut each).any(refused) { Answer::Deny } else { answer }
    }

    /// Why the rules refuse a login whose password was right, if they do.
    pub(super) fn refused_in_context(&self, user: UserId, client: &Client) -> Result<Option<Refusal>> {
        if self.rules.0.is_empty() {
            return Ok(None);
        }
        // INVARIANT: whoever gets past this without a refusal was asked about. So one who may not log in is refused here,
        // and not left to the commit, before which that may have changed.
        let account = store::read::<UserRecord>(&*self.store, &user)?;
        match account.map(|account| account.record) {
            None => Ok(Some(Refusal::UnknownName)),
            Some(account) if !account.status.is_active_at(self.now()) => {
                Ok(Some(Refusal::NotActive(status_detail(&account))))
            }
            Some(_) => {
                let asker = Asker { client: Some(client), ..Asker::user(user) };
                Ok(self.ask_rules(asker, None, ScopeId::ROOT).map(Refusal::Context))
            }
        }
    }

    /// Whether the rules let somebody begin to act as another user.
    pub(super) fn permitted_in_context(&self, user: UserId, impersonator: UserId, client: &Client) -> bool {
        let asker = || Asker { client: Some(client), impersonator: Some(impersonator), ..Asker::user(user) };
        self.in_context(Answer::Allow, asker, None, ScopeId::ROOT) == Answer::Allow
    }

    /// The number of the first rule that refuses, counted from 1.
    #[cold]
    #[inline(never)]
    fn ask_rules(&self, asker: Asker<'_>, permission: Option<Permission>, scope: ScopeId) -> Option<usize> {
        let context = CheckContext { engine: self, asker, permission, scope, time: self.now() };
        (1..).zip(&self.rules.0).find(|(_, rule)| !rule.permits(&context)).map(|(number, _)| number)
    }
}
