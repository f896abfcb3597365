//! Identifiers, and the bytes by which they sort in a table.

use crate::error::{Error, Result};
use crate::permission::Permission;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key whose bytes sort as its values do.
pub(crate) trait Key: Sized {
    /// Appends the ordered bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads them back; the whole slice must be the key.
    fn read(bytes: &[u8]) -> Result<Self>;

    fn bytes(&self) -> Vec<u8> {
        // Room for what an index row adds to the key, so that it does not move.
        let mut out = Vec::with_capacity(24);
        self.write(&mut out);
        out
    }
}

macro_rules! integer_key {
    ($($int:ty),*) => {$(
        impl Key for $int {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn read(bytes: &[u8]) -> Result<Self> {
                bytes.try_into().map(<$int>::from_be_bytes).map_err(|_| {
                    Error::damaged(format!("a stored key has {} bytes where {} are due", bytes.len(), size_of::<$int>()))
                })
            }
        }
    )*};
}
integer_key!(u8, u16, u32, u64);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name($int);

        impl $name {
            /// The number behind the identifier, to keep in a table of the caller's own.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }

            /// An identifier from a number that [`get`](Self::get) returned; one that was never issued is unknown
            /// to every call that takes it.
            #[must_use]
            pub const fn from_number(number: $int) -> Self {
                Self(number)
            }
        }

        impl Key for $name {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }
            fn read(bytes: &[u8]) -> Result<Self> {
                <$int>::read(bytes).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {}"), self.0)
            }
        }
    };
}

id!(
    /// Names a user; issued in rising order and never reused, so a deleted user's grants and audit trail can not
    /// pass to somebody else.
    UserId,
    u64,
    "user"
);
id!(
    /// Names a role; never reused.
    RoleId,
    u32,
    "role"
);
id!(
    /// Names a scope: a tenant, a project, a resource; never reused.
    ScopeId,
    u32,
    "scope"
);

impl ScopeId {
    /// The global scope, which all others lie in.
    pub const ROOT: Self = Self(0);
}

impl Default for ScopeId {
    fn default() -> Self {
        Self::ROOT
    }
}

id!(
    /// Names a set of roles that are kept apart; never reused.
    SeparationId,
    u32,
    "separation"
);
id!(
    /// Names a session; a random number that is safe to show and to log, unlike the session's token.
    SessionId,
    u64,
    "session"
);
id!(
    /// Names a device of one user; a random number that is safe to show and to log, unlike the device's token.
    DeviceId,
    u64,
    "device"
);
id!(
    /// Names a feature flag; never reused, so a value kept over a restart still means the same flag.
    Flag,
    u32,
    "flag"
);
id!(
    /// Names a contact detail of one user; never reused within that user.
    ContactId,
    u32,
    "contact"
);

id!(
    /// Names a second factor of one user: a random number, so that one which comes later is not taken for it.
    FactorId,
    u32,
    "factor"
);

id!(
    /// Names a delegation; never reused.
    DelegationId,
    u32,
    "delegation"
);

id!(
    /// Names a one-time token; a random number that is safe to show and to log, unlike the token itself.
    TicketId,
    u64,
    "ticket"
);

id!(
    /// Names an API key; a random number that is safe to show and to log, unlike the key's token.
    ApiKeyId,
    u64,
    "API key"
);

impl ApiKeyId {
    /// Set in the number of every key and of no session, so that both can stand in one table.
    pub(crate) const MARK: u64 = 1 << 6;
}

id!(
    /// Says which state of a record was read: hand it back with a change, and the change is refused if somebody else
    /// changed the record meanwhile (compare and set).
    Stamp,
    u64,
    "stamp"
);

/// A pair of keys, the first one fixed in length, so that all pairs with one first part sort together.
impl<A: Key + FixedLength, B: Key> Key for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
    fn read(bytes: &[u8]) -> Result<Self> {
        let (a, b) = bytes
            .split_at_checked(A::LENGTH)
            .ok_or_else(|| Error::damaged(format!("a stored key has only {} bytes", bytes.len())))?;
        Ok((A::read(a)?, B::read(b)?))
    }
}

impl Key for Permission {
    fn write(&self, out: &mut Vec<u8>) {
        self.bit().write(out);
    }
    fn read(bytes: &[u8]) -> Result<Self> {
        u32::read(bytes).map(Self::from_bit)
    }
}

/// A key that always has the same number of bytes, and so can stand before another one.
pub(crate) trait FixedLength {
    const LENGTH: usize;
}
impl<A: FixedLength, B: FixedLength> FixedLength for (A, B) {
    const LENGTH: usize = A::LENGTH + B::LENGTH;
}
macro_rules! fixed {
    ($($name:ty = $n:literal),*) => {$(impl FixedLength for $name { const LENGTH: usize = $n; })*};
}
fixed!(
    u8 = 1,
    u16 = 2,
    u32 = 4,
    u64 = 8,
    UserId = 8,
    RoleId = 4,
    ScopeId = 4,
    Permission = 4,
    SessionId = 8,
    DeviceId = 8,
    ApiKeyId = 8,
    SeparationId = 4,
    Flag = 4
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_values_and_read_back() {
        let keys = [(UserId(1), RoleId(9)), (UserId(1), RoleId(300)), (UserId(256), RoleId(0))];
        let bytes: Vec<_> = keys.iter().map(Key::bytes).collect();
        assert!(bytes.is_sorted());
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(<(UserId, RoleId)>::read(bytes).unwrap(), *key);
        }
        assert!(<(UserId, RoleId)>::read(&[1, 2]).is_err());
        assert!(u32::read(&[0; 5]).is_err());
    }
}
