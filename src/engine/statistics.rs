//! How large a database is in memory.

use super::Portcullis;

/// How much is in the read model, and the memory it takes. The storage engine's cache comes on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Users.
    pub users: u64,
    /// Sessions, with those that are past their end and not removed yet.
    pub sessions: u64,
    /// API keys, with those that are past their end and not removed yet.
    pub api_keys: u64,
    /// Roles.
    pub roles: u64,
    /// Distinct sets of roles that users hold; users with the same roles share one.
    pub role_sets: u64,
    /// Bytes for users and role sets.
    pub user_bytes: usize,
    /// Bytes for sessions and API keys.
    pub session_bytes: usize,
    /// Bytes for roles and permissions.
    pub role_bytes: usize,
    /// Scopes.
    pub scopes: u64,
    /// Bytes for scopes and what is held at them.
    pub scope_bytes: usize,
    /// Feature flags.
    pub flags: u64,
    /// Bytes for flags; what their rules turn on and off is among the users', roles' and scopes' bytes.
    pub flag_bytes: usize,
}

impl Portcullis {
    /// How much is in the read model, and the memory it takes.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let stats = self.engine().view.stats();
        let (flags, flag_bytes) = self.engine().view.flag_stats();
        Statistics {
            users: stats.users,
            sessions: stats.sessions,
            api_keys: stats.keys,
            roles: stats.roles,
            role_sets: stats.sets,
            scopes: stats.scopes,
            scope_bytes: stats.scope_bytes,
            user_bytes: stats.user_bytes + stats.set_bytes,
            session_bytes: stats.session_bytes,
            role_bytes: stats.policy_bytes,
            flags,
            flag_bytes,
        }
    }
}
