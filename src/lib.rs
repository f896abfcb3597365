#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod engine;
mod error;
mod id;
mod permission;
mod secret;
mod store;

pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{Denial, Error, ErrorKind, Result};
pub use id::{ContactId, RoleId, SessionId, UserId};
pub use permission::{Permission, PermissionSet};
pub use secret::{Entropy, SystemEntropy};
