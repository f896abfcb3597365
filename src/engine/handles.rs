//! What a database is asked for, subject by subject.

use super::{
    Access, Audit, Delegations, Flags, Permissions, Portcullis, Review, Roles, Scopes, SeparationOfDuty,
    Sessions, Users,
};

impl Portcullis {
    /// User management.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users { gate: self }
    }

    /// Scopes: tenants, projects, resources.
    #[must_use]
    pub fn scopes(&self) -> Scopes<'_> {
        Scopes { gate: self }
    }

    /// Permissions given to single users without a role.
    #[must_use]
    pub fn access(&self) -> Access<'_> {
        Access { gate: self }
    }

    /// Feature flags.
    #[must_use]
    pub fn flags(&self) -> Flags<'_> {
        Flags { gate: self }
    }

    /// Who can, what can, where, why, and what if.
    #[must_use]
    pub fn review(&self) -> Review<'_> {
        Review { gate: self }
    }

    /// What holders of admin roles may administer.
    #[must_use]
    pub fn delegations(&self) -> Delegations<'_> {
        Delegations { gate: self }
    }

    /// Roles, their hierarchy, and who holds them.
    #[must_use]
    pub fn roles(&self) -> Roles<'_> {
        Roles { gate: self }
    }

    /// Separation of duty: sets of roles that are kept apart.
    #[must_use]
    pub fn separation(&self) -> SeparationOfDuty<'_> {
        SeparationOfDuty { gate: self }
    }

    /// The catalogue of permissions.
    #[must_use]
    pub fn permissions(&self) -> Permissions<'_> {
        Permissions { gate: self }
    }

    /// Sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions { gate: self }
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit { gate: self }
    }
}
