#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod assignment;
mod audit;
mod catalog;
mod clock;
mod credential;
mod crypto;
mod error;
mod id;
mod permission;
mod role;
mod secret;
mod session;
mod store;
mod text;
mod user;

pub use assignment::Assignment;
pub use audit::{Actor, AuditKind, AuditRecord, Outcome, Subject};
pub use catalog::PermissionInfo;
pub use clock::{Clock, SystemClock, Timestamp};
pub use crypto::{PasswordCost, Token};
pub use error::{Denial, Error, ErrorKind, Result};
pub use id::Stamp;
pub use id::{ContactId, RoleId, SessionId, UserId};
pub use permission::{Permission, PermissionSet};
pub use role::{Role, RoleChange};
pub use secret::{Entropy, SystemEntropy};
pub use session::{Client, Session, SessionLimits};
pub use user::{
    Attributes, Contact, ContactKind, NewContact, NewUser, Status, StatusKind, User, UserChange, Value,
};
