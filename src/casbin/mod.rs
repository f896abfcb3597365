//! Brings an existing Casbin policy along: reads its model and policy files and writes them into a database, so that
//! every request gets the decision that Casbin gives. Behind the feature `casbin`.
//!
//! ```
//! # fn main() -> portcullis::Result<()> {
//! use portcullis::Portcullis;
//! use portcullis::casbin::Policy;
//! let model = "
//! [request_definition]
//! r = sub, obj, act
//! [policy_definition]
//! p = sub, obj, act
//! [role_definition]
//! g = _, _
//! [policy_effect]
//! e = some(where (p.eft == allow))
//! [matchers]
//! m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
//! ";
//! let policy = Policy::parse(model, "
//! p, clerk, invoice, read
//! g, ada, clerk
//! ")?;
//! let gate = Portcullis::in_memory()?;
//! let loaded = policy.load_into(&gate)?;
//! assert!(loaded.enforce(&gate, &["ada", "invoice", "read"])?);
//! assert!(!loaded.enforce(&gate, &["ada", "invoice", "pay"])?);
//!
//! // From here on it is an ordinary database; the names lead to its numbers.
//! let ada = loaded.user("ada").expect("loaded");
//! let read = loaded.permission("invoice", "read").expect("loaded");
//! assert!(gate.check(ada, read)?.is_allowed());
//! # Ok(())
//! # }
//! ```
//!
//! # What is read
//!
//! Casbin's access control lists and its role families: basic, with a hierarchy, with domains, with denials, and all of
//! these together.
//!
//! | part of the model | what is taken |
//! |---|---|
//! | `r`, `p` | `sub`, `obj`, `act`, with or without `dom`, in any order; `p` also with `eft` |
//! | `g` | `_, _` without domains and `_, _, _` with them, or none |
//! | `e` | `some(where (p.eft == allow))`, also with `&& !some(where (p.eft == deny))` |
//! | `m` | `g(r.sub, p.sub)`, `g(r.sub, p.sub, r.dom)` or `r.sub == p.sub`, and `==` for each other field, with `&&` between them, in any order |
//!
//! Everything else is refused with its line: other effects (priority, allow unless denied), `||`, `!`, constants and
//! superusers, attributes, `eval`, `keyMatch`, `regexMatch` and other functions, a second definition (`r2`, `p2`, `g2`,
//! `e2`, `m2`), so also resource roles, and conditional roles. Functions that match roles or domains by pattern are added
//! to Casbin in code, not in its files, and can not be seen here; a name with a `*` that `g` would be asked for is refused,
//! because it was written for one.
//!
//! A policy is read as Casbin for Rust 2.20 reads it: one rule a line, fields parted by commas, white space around them
//! left out (Casbin for Go keeps what stands before a comma), a field in double quotes as it stands, a line that starts
//! with `#` left out. What Casbin passes over in silence or reads in a way that nobody means is refused: a line of a type
//! that the model does not define, a field too many or too few, an empty field, an effect other than `allow` and `deny`, a
//! quote inside a field, and roles over more than nine links, after which Casbin stops following them.
//!
//! Limits: 64 KiB for a model, 16 MiB for a policy; names as everywhere (128 bytes, see
//! [`_docs::defaults`](crate::_docs::defaults)).
//!
//! # What it becomes
//!
//! | in Casbin | in portcullis |
//! |---|---|
//! | an object and an action | the permission `object:action` |
//! | a name on the right side of a `g` line | a role, in every domain in which the name is used |
//! | every other name | a user without a password |
//! | a domain | a tenant, and its roles are that tenant's own |
//! | a `g` line of a user, of a role | an assignment, an inheritance; at the tenant where there are domains |
//! | a `p` line of a role, of a user | a grant of the role, a direct grant ([`Access`](crate::Access)) |
//! | `deny` | a denial by the role or of the user |
//!
//! A model whose effect asks for `allow` only takes no notice of `deny` lines, so they are not loaded
//! ([`Policy::without_effect`] has their lines).

mod graph;
mod load;
mod model;
mod policy;

pub use load::Loaded;

use crate::error::{Error, ErrorKind, Result};
use model::{Field, Model};
use policy::Place;
use std::fmt;

/// Longest model file, in bytes.
const MAX_MODEL: usize = 64 << 10;
/// Longest policy file, in bytes.
const MAX_POLICY: usize = 16 << 20;
/// Most characters of a file that an error message repeats in one piece.
const MAX_SHOWN: usize = 60;

/// A Casbin model and policy that were read and checked, with nothing written yet.
#[derive(Clone)]
#[must_use]
pub struct Policy {
    /// What a request consists of, in its order.
    request: Vec<Field>,
    /// Object and action of each permission, in the order of their first lines.
    permissions: Vec<(String, String)>,
    /// Whom to create: the logins of all places.
    users: Vec<String>,
    places: Vec<Place>,
    without_effect: Vec<usize>,
}

impl Policy {
    /// Reads a model and a policy, from the texts of their files, and checks all that can be checked without a
    /// database.
    ///
    /// # Errors
    /// All name the field, `model` or `policy`, and the line: `InvalidInput` for what is not supported or breaks a rule,
    /// also for names that can not be names here, for two users whose logins differ in case only, and for two pairs of
    /// object and action that make one permission; `Cycle` where roles inherit from each other in a cycle, or one from
    /// itself; `LimitExceeded` for a text that is too long, and for a role with more than 128 parents.
    pub fn parse(model: &str, policy: &str) -> Result<Self> {
        check_length("model", model, MAX_MODEL)?;
        check_length("policy", policy, MAX_POLICY)?;
        let model = Model::parse(model)?;
        policy::parse(model, policy)
    }

    /// The lines of the policy, counted from 1, that say `deny` under a model whose effect asks for `allow` only. They
    /// change nothing in Casbin either; whoever wrote them may have meant another effect.
    #[must_use]
    pub fn without_effect(&self) -> &[usize] {
        &self.without_effect
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("permissions", &self.permissions.len())
            .field("users", &self.users.len())
            .field("roles", &self.places.iter().map(|place| place.roles.len()).sum::<usize>())
            .field("places", &self.places.len())
            .finish_non_exhaustive()
    }
}

fn check_length(field: &'static str, text: &str, most: usize) -> Result<()> {
    if text.len() > most {
        return Err(Error::limit(field, format!("has {} bytes; at most {most} are read", text.len())));
    }
    Ok(())
}

/// A line of a file that is not taken.
fn fault(file: &'static str, line: usize, message: impl fmt::Display) -> Error {
    fault_of(ErrorKind::InvalidInput, file, line, message)
}

fn fault_of(kind: ErrorKind, file: &'static str, line: usize, message: impl fmt::Display) -> Error {
    Error::new(kind, format!("line {line}: {message}")).with_field(file)
}

/// A piece of a file for a person to read: quoted, without control characters, and not too long.
fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    for (number, c) in text.chars().enumerate() {
        if number == MAX_SHOWN {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out.push('"');
    out
}
