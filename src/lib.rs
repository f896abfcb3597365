#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod assignment;
mod audit;
#[cfg(feature = "casbin")]
pub mod casbin;
mod catalog;
mod clock;
mod credential;
mod crypto;
mod delegation;
mod engine;
mod error;
mod flag;
mod grant;
mod id;
#[cfg(feature = "import")]
pub mod import;
mod macros;
mod permission;
mod role;
mod scope;
mod secret;
mod separation;
mod session;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod user;

pub use access::DirectGrant;
pub use assignment::Assignment;
pub use audit::{Actor, AuditKind, AuditRecord, Outcome, Subject};
pub use catalog::{DeclaredPermission, PermissionInfo};
pub use clock::{Clock, SystemClock, Timestamp};
pub use crypto::{PasswordCost, Token};
pub use delegation::{Ability, Delegation, RoleRange};
pub use engine::{
    Access, AppliedRule, Audit, AuditHead, Builder, CheckContext, ContextRule, Credentials, Cursor, Decision,
    Delegations, Explanation, Finding, FlagExplanation, FlagStep, Flags, Impact, Link, Login, Maintenance,
    ObjectOperation, Page, PageRequest, Permissions, Portcullis, Principal, Review, Roles, Scopes,
    SeparationOfDuty, Sessions, Standing, Statistics, UnusedRole, Users, Verification, WhatIf,
};
pub use error::{Denial, Error, ErrorKind, Result};
pub use flag::{FlagChange, FlagInfo, FlagRule, FlagState, FlagTarget, NewFlag};
pub use grant::{Effect, Grant};
pub use id::{ContactId, DelegationId, Flag, RoleId, ScopeId, SeparationId, SessionId, Stamp, UserId};
pub use permission::{Permission, PermissionSet};
pub use role::{Role, RoleChange};
pub use scope::Scope;
pub use secret::{Entropy, SystemEntropy};
pub use separation::{Separation, SeparationKind};
pub use session::{Client, Session, SessionLimits};
pub use user::{
    Attributes, Contact, ContactKind, NewContact, NewUser, Status, StatusKind, User, UserChange, Value,
};

/// Design notes, compiled with the crate so that their links are checked.
pub mod _docs {
    #[doc = include_str!("docs/architecture.md")]
    pub mod architecture {}
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
}
