//! One opaque error for the whole crate.
//!
//! A denial is a decision and carries no allocation; everything else is a failure and says what was wrong, with
//! which field, and what to do about it.

mod proof;

pub use proof::ProofFault;

use std::fmt;
use std::time::Duration;

/// What every fallible call of portcullis returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or a failure; ask [`Error::kind`] or one of the predicates which it is.
pub struct Error(Repr);

enum Repr {
    Denied(Denial),
    Failed(Box<Failure>),
}

struct Failure {
    kind: ErrorKind,
    field: Option<&'static str>,
    message: String,
    problem: Option<PasswordProblem>,
    proof: Option<ProofFault>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(kind: ErrorKind, field: Option<&'static str>, message: String) -> Self {
        Self { kind, field, message, problem: None, proof: None, source: None, retry_after: None }
    }
}

/// Why a decision was "no".
///
/// A failed login has one reason whatever went wrong, so that a caller can pass it on without telling an attacker
/// whether the account exists (OWASP ASVS 5.0 16.5.1); the audit record has the true reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denial {
    /// The login name and password do not open an account that may log in now.
    Credentials,
    /// What was proved is right and not enough: a second factor is asked for. Take
    /// [`start_login`](crate::Portcullis::start_login), which says how to go on.
    FactorRequired,
    /// The password is right and must be changed before there is a session. Take
    /// [`start_login`](crate::Portcullis::start_login), which says how to go on.
    PasswordChangeRequired,
    /// Too many attempts have failed; nothing was looked at. It is said of names that nobody has as well.
    Throttled(RetryAfter),
    /// The token names no login under way: answered, expired, or given up after too many wrong answers. Start again.
    Challenge,
    /// The one-time token is not good, or no longer: never issued, for something else, spent, expired, revoked, replaced by
    /// a newer one, or what it was issued for has changed. Ask for another one.
    Ticket,
    /// The token names no live session: never issued, revoked, expired, or its user may not log in any more.
    Session,
    /// The text is no live API key: never issued, revoked, expired, replaced, or its owner may not be let in now.
    ApiKey,
    /// The user has as many sessions as may be open at once: see [`ParallelSessions`](crate::ParallelSessions). Have one
    /// ended, by an administrator or in one of them.
    SessionLimit,
    /// The session is live, and what its user proved is too long ago or too little for this: have it proved anew by
    /// [`reauthenticate`](crate::Portcullis::reauthenticate) or [`step_up`](crate::Portcullis::step_up).
    Reauthentication,
    /// The principal does not hold the permission.
    Permission,
    /// The actor's delegation does not cover what was asked for.
    Delegation,
    /// Somebody acts as the user there, and this is for the user alone.
    Impersonated,
}

impl Denial {
    /// How long to wait before trying again, where the reason says so, in whole seconds as HTTP's `Retry-After` counts.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) => Some(wait.duration()),
            _ => None,
        }
    }
}

/// How long to wait before trying again, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RetryAfter(u32);

impl RetryAfter {
    /// At least a second, so that nobody tries again at once.
    pub(crate) fn rounded_up(span: Duration) -> Self {
        let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1);
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The number of seconds, as HTTP's `Retry-After` takes it.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// The same as a span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// What sort of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The decision was "no"; see [`Error::denial`].
    Denied,
    /// An argument breaks a documented rule; [`Error::field`] names it. Nothing was changed.
    InvalidInput,
    /// The record that was named does not exist (any more).
    NotFound,
    /// The name, address or pair is taken. Nothing was changed.
    AlreadyExists,
    /// The record changed since the caller read it (version stamp), or other writers kept winning. Read it again.
    Conflict,
    /// The inheritance edge would close a cycle in the role hierarchy. Nothing was changed.
    Cycle,
    /// Somebody would hold, or a session would have active, too many roles of a set that keeps duties apart. Nothing
    /// was changed.
    SeparationOfDuty,
    /// A protected role would lose its last holder. Nothing was changed.
    LastHolder,
    /// What the application declares is not what the database has stored. Nothing was changed.
    Mismatch,
    /// A documented limit would be exceeded. Nothing was changed.
    LimitExceeded,
    /// The admission gate is full: too many password hashes under way. Try again later; [`Error::retry_after`] estimates
    /// when.
    Busy,
    /// The API key is good and was used too often; [`Error::retry_after`] says exactly when it is accepted again, in whole
    /// seconds. It is no denial.
    RateLimited,
    /// Another handle, in this process or another one, has the database open.
    Locked,
    /// The path is a symbolic link, belongs to somebody else, is open to others, or is not a portcullis database.
    UnsafePath,
    /// The database was written by a newer version of portcullis.
    NewerFormat,
    /// The database does not hold what it acknowledged: damaged, truncated, or an older copy put back.
    Damaged,
    /// A proof, a checkpoint, a note or a verifier key does not hold; [`Error::proof_fault`] says what is wrong with it.
    Unproved,
    /// An operation of the operating system failed (full disk, I/O error, no randomness).
    Storage,
    /// The change may or may not have been made durable; open the database again to learn which.
    OutcomeUnknown,
    /// An earlier storage failure stopped this handle; open the database again.
    Stopped,
}

/// Why a new password was refused, as a code that a program can act on (NIST SP 800-63B-4, section 3.1.1.2, asks for the
/// reason to be told).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PasswordProblem {
    /// Fewer code points than the policy asks for.
    TooShort,
    /// More than 1,024 bytes.
    TooLong,
    /// It is on the list of common passwords.
    Common,
    /// It is made of the login name, an address of the user or a word of the service.
    ContextWord,
    /// It is easier to guess than the policy allows.
    TooWeak,
    /// It is among passwords that were made public by breaches elsewhere.
    Breached,
    /// Whether it was made public could not be found out; try again later.
    NotChecked,
    /// The user has it now, or had it not long ago.
    Reused,
}

impl PasswordProblem {
    /// A name that never changes, for logs and translations.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Common => "common",
            Self::ContextWord => "context_word",
            Self::TooWeak => "too_weak",
            Self::Breached => "breached",
            Self::NotChecked => "not_checked",
            Self::Reused => "reused",
        }
    }
}

impl Error {
    /// What sort of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Denied(_) => ErrorKind::Denied,
            Repr::Failed(failure) => failure.kind,
        }
    }

    /// The reason, when the error is a decision and not a failure.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        match &self.0 {
            Repr::Denied(reason) => Some(*reason),
            Repr::Failed(_) => None,
        }
    }

    /// The argument or stored field that was wrong, where one was.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match &self.0 {
            Repr::Denied(_) => None,
            Repr::Failed(failure) => failure.field,
        }
    }

    /// Why a new password was refused, where that is what happened.
    #[must_use]
    pub fn password_problem(&self) -> Option<PasswordProblem> {
        match &self.0 {
            Repr::Denied(_) => None,
            Repr::Failed(failure) => failure.problem,
        }
    }

    /// How long to wait before trying again, where the error says so: exact for [`Denial::Throttled`]
    /// and [`ErrorKind::RateLimited`], and an estimate for [`ErrorKind::Busy`]. HTTP's `Retry-After` counts whole seconds, so round it up there.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0 {
            Repr::Denied(reason) => reason.retry_after(),
            Repr::Failed(failure) => failure.retry_after,
        }
    }

    /// True when the answer is "no"; never true for an outage.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.0, Repr::Denied(_))
    }

    /// True when somebody else's change is in the way: taken names, stale version stamps.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
    }

    /// True when the database, and not the request, is the trouble.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Locked
                | ErrorKind::UnsafePath
                | ErrorKind::NewerFormat
                | ErrorKind::Damaged
                | ErrorKind::Storage
                | ErrorKind::OutcomeUnknown
                | ErrorKind::Stopped
        )
    }

    pub(crate) const fn denied(reason: Denial) -> Self {
        Self(Repr::Denied(reason))
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Repr::Failed(Box::new(Failure::new(kind, None, message.into()))))
    }

    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message).with_field(field)
    }

    /// A password that is not taken.
    pub(crate) fn password(problem: PasswordProblem, message: impl Into<String>) -> Self {
        let mut error = Self::invalid("password", message);
        if let Repr::Failed(failure) = &mut error.0 {
            failure.problem = Some(problem);
        }
        error
    }

    pub(crate) fn not_found(field: &'static str, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("{what} does not exist")).with_field(field)
    }

    pub(crate) fn exists(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AlreadyExists, message).with_field(field)
    }

    pub(crate) fn limit(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, message).with_field(field)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    pub(crate) fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(ErrorKind::Busy, message);
        if let Repr::Failed(failure) = &mut error.0 {
            failure.retry_after = Some(retry_after);
        }
        error
    }

    pub(crate) fn rate_limited(wait: RetryAfter) -> Self {
        let message = format!("the API key was used too often; try again in {} s", wait.seconds());
        let mut error = Self::new(ErrorKind::RateLimited, message);
        if let Repr::Failed(failure) = &mut error.0 {
            failure.retry_after = Some(wait.duration());
        }
        error
    }

    pub(crate) fn stopped(why: &str) -> Self {
        Self::new(
            ErrorKind::Stopped,
            format!("this handle no longer answers: {why}; open the database again"),
        )
    }

    pub(crate) fn with_field(mut self, field: &'static str) -> Self {
        if let Repr::Failed(failure) = &mut self.0 {
            failure.field = Some(field);
        }
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        if let Repr::Failed(failure) = &mut self.0 {
            failure.source = Some(source.into());
        }
        self
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled(wait) => {
                return write!(f, "too many attempts have failed; try again in {} s", wait.seconds());
            }
            Self::Credentials => "the login name or password is not right, or the account may not log in now",
            Self::FactorRequired => "a second factor is asked for",
            Self::PasswordChangeRequired => "the password must be changed first",
            Self::Challenge => "the token names no login under way; start again",
            Self::Ticket => "the one-time token is not good, or no longer; ask for another one",
            Self::Session => "the token names no live session; log in again",
            Self::ApiKey => "the API key is not good, or no longer; ask for another one",
            Self::SessionLimit => "the user has as many sessions as may be open at once; end one first",
            Self::Reauthentication => {
                "this needs a newer or a stronger proof of who you are; give it and try again"
            }
            Self::Permission => "the permission is not granted",
            Self::Delegation => "the actor's delegation does not cover this",
            Self::Impersonated => "somebody acts as the user there, and this is for the user alone",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Denied(reason) => write!(f, "denied: {reason}"),
            Repr::Failed(failure) => match failure.field {
                Some(field) => write!(f, "{field}: {}", failure.message),
                None => f.write_str(&failure.message),
            },
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Denied(reason) => f.debug_tuple("Denied").field(reason).finish(),
            Repr::Failed(failure) => f
                .debug_struct("Error")
                .field("kind", &failure.kind)
                .field("field", &failure.field)
                .field("message", &failure.message)
                .field("source", &failure.source)
                .finish(),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Repr::Denied(_) => None,
            Repr::Failed(failure) => failure.source.as_deref().map(|source| {
                let source: &(dyn std::error::Error + 'static) = source;
                source
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_two_words_and_a_denial_does_not_allocate() {
        assert!(size_of::<Error>() <= 16);
        let denied = Error::denied(Denial::Session);
        assert!(denied.is_denied() && !denied.is_storage() && !denied.is_conflict());
        assert_eq!(denied.kind(), ErrorKind::Denied);
        assert_eq!(denied.retry_after(), None);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (29_999, 30), (u64::MAX, u32::MAX)] {
            let denial = Denial::Throttled(RetryAfter::rounded_up(Duration::from_millis(millis)));
            let wait = Some(Duration::from_secs(seconds.into()));
            assert_eq!((denial.retry_after(), Error::denied(denial).retry_after()), (wait, wait));
        }
    }

    #[test]
    fn a_failure_names_its_field_and_keeps_its_cause() {
        let error = Error::invalid("login", "is empty").caused_by("root cause");
        assert_eq!(error.to_string(), "login: is empty");
        assert_eq!(error.field(), Some("login"));
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(error.retry_after(), None);
    }

    #[test]
    fn busy_says_when_to_try_again() {
        let error = Error::busy("full", Duration::from_secs(3));
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Busy, Some(Duration::from_secs(3))));
        assert_eq!(Error::denied(Denial::Session).retry_after(), None);
    }
}
