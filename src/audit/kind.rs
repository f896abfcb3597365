//! What can happen, under names that do not change: those of the OWASP Logging Vocabulary where it has one.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $number:literal $name:ident $text:literal),* $(,)?) => {
        /// What was done. The number and the name of a kind never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "u16", try_from = "u16")]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum AuditKind {
            $($(#[$doc])* $name = $number),*
        }

        impl AuditKind {
            /// Every kind, by rising number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name, such as `authn_login_success`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// A password opened a session.
    1 LoginSuccess "authn_login_success",
    /// A login was refused; the detail has the true reason.
    2 LoginFailure "authn_login_fail",
    /// A password was set or changed.
    3 PasswordChange "authn_password_change",
    /// A session was revoked.
    4 SessionRevoked "session_revoked",
    /// Every session of a user was revoked, or every one but one; or all that match a filter, or of all users.
    5 SessionsRevoked "sessions_revoked",
    /// Sessions past their end were removed.
    6 SessionExpired "session_expired",
    /// A role was made active in a session.
    7 RoleActivated "session_role_activated",
    /// A role is no longer active in a session.
    8 RoleDeactivated "session_role_deactivated",
    /// A user was created.
    10 UserCreated "user_created",
    /// A user's name, profile, preferences or contacts changed.
    11 UserUpdated "user_updated",
    /// A user's status changed.
    12 UserStatusChanged "user_status_changed",
    /// A user was deleted.
    13 UserDeleted "user_deleted",
    /// A role was created.
    20 RoleCreated "role_created",
    /// A role's name or description changed.
    21 RoleUpdated "role_updated",
    /// A role was deleted.
    22 RoleDeleted "role_deleted",
    /// A role was given permissions.
    23 RoleGranted "role_granted",
    /// A role lost permissions.
    24 RoleRevoked "role_revoked",
    /// A role inherits from another one.
    25 RoleInherited "role_inherited",
    /// A role no longer inherits from another one.
    26 RoleDisinherited "role_disinherited",
    /// A role forbids permissions.
    27 RoleDenied "role_denied",
    /// A role no longer forbids permissions.
    28 RoleDenialLifted "role_denial_lifted",
    /// A user was assigned a role.
    30 RoleAssigned "authz_role_assigned",
    /// A user lost a role.
    31 RoleUnassigned "authz_role_unassigned",
    /// A role that is not privileged, or a permission, was given in an emergency; the detail has the reason.
    32 BreakGlass "authz_break_glass",
    /// A user was given a permission without a role, or forbidden one.
    33 AccessGranted "authz_access_granted",
    /// A user lost a permission that was given without a role, or a denial.
    34 AccessWithdrawn "authz_access_withdrawn",
    /// A user was assigned a privileged role, or denied it.
    35 PrivilegedRoleAssigned "authz_privileged_role_assigned",
    /// A user lost a privileged role.
    36 PrivilegedRoleUnassigned "authz_privileged_role_unassigned",
    /// Assignments and grants past their end were removed.
    37 GrantsEnded "authz_grants_ended",
    /// A permission was defined.
    40 PermissionDefined "permission_defined",
    /// A permission was deleted.
    41 PermissionDeleted "permission_deleted",
    /// A permission's description changed.
    42 PermissionUpdated "permission_updated",
    /// A scope was made.
    50 ScopeCreated "scope_created",
    /// A scope got another name.
    51 ScopeRenamed "scope_renamed",
    /// A scope was moved.
    52 ScopeMoved "scope_moved",
    /// A scope was deleted.
    53 ScopeDeleted "scope_deleted",
    /// A feature flag was defined.
    60 FlagDefined "flag_defined",
    /// A feature flag's name, description, owner or default changed.
    61 FlagUpdated "flag_updated",
    /// A feature flag was set off, on or targeted.
    62 FlagSet "flag_set",
    /// A feature flag holds for another share of the users.
    63 FlagPercentageSet "flag_percentage_set",
    /// A rule turns a feature flag on or off for a role, a user or a scope.
    64 FlagRuleSet "flag_rule_set",
    /// A rule of a feature flag was removed.
    65 FlagRuleRemoved "flag_rule_removed",
    /// A feature flag was deleted.
    66 FlagDeleted "flag_deleted",
    /// Roles are kept apart.
    70 SeparationCreated "separation_created",
    /// A set of roles that are kept apart changed: a role more or less, or another number.
    71 SeparationChanged "separation_changed",
    /// Roles are no longer kept apart.
    72 SeparationDeleted "separation_deleted",
    /// A change was refused that would have broken a separation of duty.
    73 SeparationViolated "authz_separation_violation",
    /// The hierarchy of roles was limited to one parent a role, or is no longer.
    74 HierarchyLimited "role_hierarchy_limited",
    /// What a privileged role grants, denies, inherits or is called changed, or a role became or ceased to be an heir of
    /// one; the detail begins with the name of the kind that it has for other roles.
    80 PrivilegedRoleChanged "privilege_permissions_changed",
    /// A privileged role was deleted.
    81 PrivilegedRoleDeleted "authz_privileged_role_deleted",
    /// A privileged role was given in an emergency; the detail has the reason.
    82 PrivilegedBreakGlass "authz_privileged_break_glass",
    /// A role was marked as privileged or protected, or no longer.
    83 RoleMarked "authz_role_marked",
    /// Holders of a role may administer a range of roles.
    84 DelegationCreated "authz_delegation_created",
    /// They may no longer.
    85 DelegationDeleted "authz_delegation_deleted",
    /// Somebody tried what no delegation of theirs covers; the detail has what.
    86 DelegationRefused "authz_fail",
    /// A change of a user's own password was refused; the detail has the true reason.
    90 PasswordChangeRefused "authn_password_change_fail",
    /// A password was marked as one that somebody else may know.
    91 PasswordCompromised "authn_password_compromised",
    /// The check for breached passwords failed; what it was for was refused, or done all the same.
    92 BreachCheckFailed "authn_breach_check_fail",
    /// Who holds a session has proved anew who they are; another session has taken its place.
    94 Reauthenticated "authn_reauthenticated",
    /// A login name was taken that looks like another user's.
    95 NameConfusable "user_name_confusable",
    /// Attempts to log in are refused for a time, because too many have failed; the detail has which and until when. It is
    /// written once a delay.
    100 LoginThrottled "excess_rate_limit_exceeded",
    /// A password or a second factor is stopped, because too many attempts at it have failed in a row.
    101 LoginStopped "authn_login_lock",
    /// Failures at a user's password and second factors were forgotten by an administrator.
    102 LoginFailuresCleared "authn_login_unlock",
    /// One address failed at many names within an hour, as somebody does who tries stolen passwords.
    103 CredentialStuffing "malicious_credential_stuffing",
    /// A password or a second factor was right after many failures in a row.
    104 LoginAfterFailures "authn_login_successafterfail",
    /// A device of a user got another name.
    105 DeviceRenamed "device_renamed",
    /// A device of a user was forgotten, with or without the sessions that were opened on it.
    106 DeviceRevoked "device_revoked",
    /// A stored hash could not be compared with the password or code that was presented; the detail has the reason.
    107 UnverifiableHash "authn_unverifiable_hash",
    /// A login succeeded after a long time without one; it has a record of its own as a success, too.
    108 LoginAfterIdle "authn_login_after_idle",
    /// A step of a login was right, and another one is asked for; the detail has which.
    110 LoginStep "authn_login_step",
    /// Logins under way were not gone on with in time.
    111 LoginAbandoned "authn_login_abandoned",
    /// A second factor is being enrolled.
    113 FactorEnrolling "authn_factor_enrolling",
    /// A second factor counts from now on.
    114 FactorEnrolled "authn_factor_enrolled",
    /// A second factor was removed.
    115 FactorRemoved "authn_factor_removed",
    /// A user was given recovery codes.
    116 RecoveryCodesIssued "authn_recovery_codes_issued",
    /// A recovery code was used.
    117 RecoveryCodeUsed "authn_recovery_code_used",
    /// A code was made to be sent to a user.
    118 CodeSent "authn_code_sent",
    /// A one-time token was issued; the detail has for what, and its number.
    120 TicketIssued "authn_token_created",
    /// A one-time token was used; what it did has a record of its own in the same commit.
    121 TicketUsed "authn_token_used",
    /// A one-time token was refused; the detail has the true reason.
    122 TicketRefused "authn_token_fail",
    /// A one-time token was presented again after it was used.
    123 TicketReplayed "authn_token_reuse",
    /// A one-time token was presented after its end.
    124 TicketLate "authn_token_use_after_expire",
    /// Somebody presented what is no one-time token of this database for that purpose, or is none any more.
    125 TicketUnknown "authn_token_unknown",
    /// One-time tokens of a user were revoked.
    126 TicketRevoked "authn_token_revoked",
    /// One-time tokens past their end were removed.
    127 TicketsExpired "authn_token_delete",
    /// Somebody asked for a one-time token for an account that gets none; the detail has the true reason.
    128 TicketRequestRefused "authn_token_request_fail",
    /// The holder of an e-mail address refused that it is replaced by another one.
    129 EmailChangeRefused "user_email_change_refused",
    /// A user registered a passkey.
    130 PasskeyRegistered "authn_passkey_registered",
    /// A passkey got another label.
    131 PasskeyRenamed "authn_passkey_renamed",
    /// A passkey was removed.
    132 PasskeyRemoved "authn_passkey_removed",
    /// A passkey is refused from now on: its counter did not grow, so that it may have been copied.
    133 PasskeySuspended "authn_passkey_suspended",
    /// A signed token was issued; those of the same session that end in the same hour have no record of their own.
    134 SignedTokenIssued "authn_signed_token_created",
    /// A refresh token was presented after it had been spent; the session has ended.
    136 RefreshTokenReused "authn_refresh_token_reuse",
    /// A refresh token was presented from another device than its login named; the session has ended.
    137 RefreshTokenElsewhere "authn_refresh_token_elsewhere",
    /// An API key was made.
    139 ApiKeyCreated "authn_api_key_created",
    /// An API key got another name or other limits.
    140 ApiKeyUpdated "authn_api_key_updated",
    /// An API key was replaced by a new one.
    141 ApiKeyRotated "authn_api_key_rotated",
    /// An API key was revoked, or every one of a user; the detail has which, and whether somebody had found it.
    142 ApiKeyRevoked "authn_api_key_revoked",
    /// API keys past their end were removed.
    143 ApiKeysExpired "authn_api_key_expired",
    /// Somebody began to act as another user, the subject, in the session that is named; the detail has the reason.
    144 ImpersonationStarted "authn_impersonation_start",
    /// Somebody was refused to act as another user, or, acting as one, what is for that user alone; the detail says what.
    145 ImpersonationRefused "authn_impersonation_fail",
    /// The end of all sessions that match a filter, or of those of the users at a scope, was asked for; the detail has which,
    /// and a number by which the record of its completion is found.
    146 SessionsEndRequested "sessions_revoke_requested",
    /// A session got another label.
    147 SessionLabelled "session_labelled",
}

impl AuditKind {
    /// The kinds of all that is done with privileged roles: list each of them by kind, and nothing else is among it.
    ///
    /// A role is privileged if it, or a role that it inherits from near or far, is marked so when the change is made. What
    /// ends with a user, a tenant or a scope is told by the kind of that deletion.
    pub const PRIVILEGED: &'static [Self] = &[
        Self::PrivilegedRoleAssigned,
        Self::PrivilegedRoleUnassigned,
        Self::PrivilegedRoleChanged,
        Self::PrivilegedRoleDeleted,
        Self::PrivilegedBreakGlass,
        Self::RoleMarked,
    ];
}

impl From<AuditKind> for u16 {
    fn from(kind: AuditKind) -> Self {
        kind as Self
    }
}

impl TryFrom<u16> for AuditKind {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|kind| **kind as u16 == number);
        found.copied().ok_or_else(|| format!("{number} is no kind of audit record"))
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
