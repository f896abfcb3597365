#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod apikey;
mod assignment;
mod assurance;
mod audit;
#[cfg(feature = "casbin")]
pub mod casbin;
mod catalog;
mod challenge;
mod clock;
mod credential;
mod crypto;
mod delegation;
mod device;
mod engine;
mod error;
mod factor;
mod flag;
mod grant;
mod history;
mod id;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "jwt")]
pub mod jwt;
mod macros;
mod network;
mod passkey;
mod permission;
pub mod proof;
mod role;
mod scope;
mod secret;
mod separation;
mod session;
mod signed;
mod store;
#[cfg(feature = "tokio")]
mod surface;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod throttle;
mod ticket;
mod user;

pub use access::DirectGrant;
pub use apikey::{ApiKey, ApiKeyChange, NewApiKey, RateLimit};
pub use assignment::Assignment;
pub use assurance::{Assurance, Method, Methods};
pub use audit::{Actor, AuditKind, AuditRecord, Outcome, Subject};
pub use catalog::{DeclaredPermission, PermissionInfo};
pub use clock::{Clock, SystemClock, Timestamp};
#[cfg(feature = "strength")]
pub use credential::PasswordStrength;
pub use credential::{
    BreachCheck, BreachError, BreachFile, BreachQuery, MustChange, PasswordPolicy, PasswordState,
};
pub use crypto::{
    Admission, ApiKeyToken, DeviceToken, KeyId, Keyring, OneTimeToken, PasswordCost, RecoveryCode,
    RefreshToken, Token, TokenPurpose, TotpAlgorithm,
};
pub use delegation::{Ability, Delegation, RoleRange};
pub use device::Device;
pub use engine::{
    Access, AccessChange, AccessChangeKind, Answer, ApiKeys, AppliedRule, Audit, AuditHead, Builder,
    Challenge, ChangeFeed, ChangePosition, CheckContext, CodeToSend, ContextRule, Credentials, Cursor,
    Decision, Delegations, Devices, EmailChange, EmailChangeStep, Event, EventKind, Explanation, Factors,
    FeedItem, Finding, FlagExplanation, FlagStep, Flags, History, Impact, IssuedApiKey, IssuedTicket, KeyUse,
    Link, Login, LoginStep, MagicLink, Maintainer, MaintainerStatus, Maintenance, MaintenanceFailure,
    MaintenanceSchedule, Notification, ObjectOperation, OwnSession, Page, PageRequest, PasswordReset,
    Permissions, Portcullis, Principal, Review, Roles, Scopes, SeparationOfDuty, Sessions, Standing,
    Statistics, Subscription, Tickets, TotpEnrolment, UnusedRole, Users, Verification, WhatIf,
};
#[cfg(feature = "passkeys")]
pub use engine::{PasskeyLogin, Passkeys};
pub use error::{Denial, Error, ErrorKind, PasswordProblem, ProofFault, Result, RetryAfter};
pub use factor::{Factor, TotpSettings};
pub use flag::{FlagChange, FlagInfo, FlagRule, FlagState, FlagTarget, NewFlag};
pub use grant::{Effect, Grant};
pub use history::{HistoryPolicy, KnownNetwork, LoginOutcome, PastLogin};
pub use id::{
    ApiKeyId, ContactId, DelegationId, DeviceId, FactorId, Flag, RoleId, ScopeId, SeparationId, SessionId,
    Stamp, TicketId, UserId,
};
pub use network::Network;
#[cfg(feature = "passkeys")]
pub use passkey::{
    Passkey, PasskeyAlgorithm, PasskeyId, PasskeyRegistration, PasskeySettings, UserVerification,
};
pub use permission::{Permission, PermissionSet};
pub use role::{Role, RoleChange};
pub use scope::Scope;
pub use secret::{Entropy, SystemEntropy};
pub use separation::{Separation, SeparationKind};
pub use session::{
    Client, Impersonation, ImpersonationPolicy, Impersonator, ParallelSessions, RefreshPolicy, Session,
    SessionFilter, SessionLimits,
};
#[cfg(feature = "tokio")]
pub use surface::AsyncPortcullis;
pub use throttle::{Failures, LoginProtection, ThrottlePolicy, TriedFrom};
pub use ticket::{Ticket, TicketLives, TicketPurpose};
pub use user::{
    Attributes, ConfusableNames, Contact, ContactKind, EmailLocalPart, NewContact, NewUser, Status,
    StatusKind, User, UserChange, Value,
};

/// Design notes, compiled with the crate so that their links are checked.
pub mod _docs {
    #[doc = include_str!("docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("docs/authentication.md")]
    pub mod authentication {}
    #[doc = include_str!("docs/authorization.md")]
    pub mod authorization {}
    #[doc = include_str!("docs/decisions.md")]
    pub mod decisions {}
    #[doc = include_str!("docs/defaults.md")]
    pub mod defaults {}
    #[doc = include_str!("docs/format.md")]
    pub mod format {}
    #[doc = include_str!("docs/guide.md")]
    pub mod guide {}
    #[doc = include_str!("docs/rbac.md")]
    pub mod rbac {}
    #[doc = include_str!("docs/sessions.md")]
    pub mod sessions {}
}
