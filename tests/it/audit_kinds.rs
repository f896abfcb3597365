//! Every operation that changes anything, and the one audit record that it writes.

use crate::api_keys::KINDS as KEYS;
use crate::audit::ELSEWHERE;
use crate::authenticator::Authenticator;
use crate::factors::keys;
use crate::passkeys::register;
use crate::support::{OTHER, PASSWORD, backwards, log_in, sound, user, world_with};
use crate::tickets_reset::{PRESENTED, start_reset};
use portcullis::{
    Ability, Actor, AuditKind, Client, ContactId, Credentials, DelegationId, DeviceId, FactorId, Flag,
    FlagChange, FlagState, FlagTarget, Grant, NewContact, NewUser, Outcome, PasskeyId, Permission,
    Portcullis, RoleChange, RoleId, RoleRange, ScopeId, SeparationId, SeparationKind, SessionId, Status,
    Subject, Timestamp, UserChange, UserId,
};
use std::collections::BTreeSet;

/// What an operation finds before it.
pub(crate) struct Scene {
    pub(crate) gate: Portcullis,
    pub(crate) boss: UserId,
    pub(crate) ada: UserId,
    pub(crate) reader: RoleId,
    pub(crate) writer: RoleId,
    pub(crate) read: Permission,
    pub(crate) write: Permission,
    pub(crate) session: SessionId,
    /// Of the boss, with some roles active.
    pub(crate) selecting: SessionId,
    pub(crate) apart: SeparationId,
    pub(crate) privileged: RoleId,
    pub(crate) scope: ScopeId,
    pub(crate) inner: ScopeId,
    pub(crate) delegation: DelegationId,
    pub(crate) flag: Flag,
    /// A verified telephone number of ada's.
    pub(crate) phone: ContactId,
    /// Her recovery codes.
    pub(crate) factor: FactorId,
    pub(crate) passkey: PasskeyId,
}

impl Scene {
    /// The device that the session was opened on.
    fn device(&self) -> DeviceId {
        self.gate.sessions().get(self.session).unwrap().device.unwrap()
    }
}

pub(crate) fn scene() -> Scene {
    let gate = world_with(|builder| builder.keys(keys())).gate;
    let (boss, ada) = (user(&gate, "boss").id, user(&gate, "ada").id);
    let bits = gate.permissions().define_many(["read", "write"]).unwrap();
    let reader = gate.roles().create("reader", [bits[0]]).unwrap();
    let writer = gate.roles().create("writer", []).unwrap();
    gate.roles().assign(boss, reader).unwrap();
    gate.roles().inherit(writer, reader).unwrap();
    let session = log_in(&gate, "ada", PASSWORD).unwrap().session().id;
    log_in(&gate, "ada", OTHER).unwrap_err();
    let privileged = gate.roles().create("root", []).unwrap();
    gate.roles().update(privileged, RoleChange::new().privileged(true)).unwrap();
    gate.roles().assign(boss, privileged).unwrap();
    gate.roles().deny(reader, [bits[0]]).unwrap();
    gate.access().grant(boss, bits[0], &Grant::new()).unwrap();
    let apart = gate.separation().create(SeparationKind::Static, "apart", [writer, privileged], 2).unwrap();
    let who = Credentials::password("boss", PASSWORD);
    let selecting = gate.login_with_roles(&who, &Client::new(), [reader]).unwrap().session().id;
    let [scope, inner] = ["acme/a", "acme/b"].map(|path| gate.scopes().ensure(path).unwrap());
    let delegation =
        gate.delegations().create(privileged, RoleRange::Below(writer), [Ability::Assign]).unwrap();
    let flag = gate.flags().define("checkout").unwrap();
    gate.flags().turn_on(flag, FlagTarget::Role(reader)).unwrap();
    let phone = gate.users().add_contact(ada, &NewContact::phone("+44 20")).unwrap().id;
    gate.users().verify_contact(ada, phone).unwrap();
    gate.factors().issue_recovery_codes(ada).unwrap();
    start_reset(&gate, ada);
    let factor = gate.factors().of_user(ada).unwrap()[0].id;
    let passkey = register(&gate, ada, &mut Authenticator::named("ada")).unwrap().id;
    Scene {
        gate: gate.acting_as(boss),
        boss,
        ada,
        reader,
        writer,
        read: bits[0],
        write: bits[1],
        session,
        selecting,
        apart,
        privileged,
        scope,
        inner,
        delegation,
        flag,
        phone,
        factor,
        passkey,
    }
}

/// Its kind, its subject and object, and itself.
pub(crate) type Operation = (AuditKind, fn(&Scene) -> (Subject, Option<Subject>), fn(&Scene));

/// Every operation that changes anything.
pub(crate) const OPERATIONS: &[Operation] = {
    use AuditKind as K;
    use Subject as S;
    &[
        (
            K::UserUpdated,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.users().update(s.ada, UserChange::new().login("countess")).unwrap();
            },
        ),
        (
            K::UserUpdated,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.users().add_contact(s.ada, &NewContact::email("a@x.org")).unwrap();
            },
        ),
        (
            K::UserStatusChanged,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.users().set_status(s.ada, Status::disabled("why")).unwrap();
            },
        ),
        (
            K::PasswordChange,
            |s| (S::User(s.ada), None),
            |s| s.gate.users().set_password(s.ada, OTHER).unwrap(),
        ),
        (
            K::PasswordCompromised,
            |s| (S::User(s.ada), None),
            |s| s.gate.users().mark_password_compromised(s.ada).unwrap(),
        ),
        (K::TicketIssued, |s| (S::User(s.ada), None), |s| start_reset(&s.gate, s.ada)),
        (K::TicketRevoked, |s| (S::User(s.ada), None), |s| s.gate.tickets().revoke_all(s.ada).unwrap()),
        (K::UserDeleted, |s| (S::User(s.ada), None), |s| s.gate.users().delete(s.ada).unwrap()),
        (
            K::RoleUpdated,
            |s| (S::Role(s.writer), None),
            |s| {
                s.gate.roles().update(s.writer, RoleChange::new().name("w")).unwrap();
            },
        ),
        (
            K::RoleGranted,
            |s| (S::Role(s.writer), None),
            |s| s.gate.roles().grant(s.writer, [s.write]).unwrap(),
        ),
        (
            K::RoleRevoked,
            |s| (S::Role(s.reader), None),
            |s| s.gate.roles().withdraw(s.reader, [s.read]).unwrap(),
        ),
        (
            K::RoleInherited,
            |s| (S::Role(s.writer), Some(S::Role(RoleId::from_number(3)))),
            |s| {
                // A role that every test over this table makes first.
                s.gate.roles().inherit(s.writer, RoleId::from_number(3)).unwrap();
            },
        ),
        (
            K::RoleDisinherited,
            |s| (S::Role(s.writer), Some(S::Role(s.reader))),
            |s| {
                s.gate.roles().disinherit(s.writer, s.reader).unwrap();
            },
        ),
        (K::RoleDeleted, |s| (S::Role(s.reader), None), |s| s.gate.roles().delete(s.reader).unwrap()),
        (
            K::RoleAssigned,
            |s| (S::User(s.ada), Some(S::Role(s.reader))),
            |s| {
                s.gate.roles().assign(s.ada, s.reader).unwrap();
            },
        ),
        (
            K::RoleUnassigned,
            |s| (S::User(s.boss), Some(S::Role(s.reader))),
            |s| {
                s.gate.roles().unassign(s.boss, s.reader).unwrap();
            },
        ),
        (
            K::PrivilegedRoleAssigned,
            |s| (S::User(s.ada), Some(S::Role(s.privileged))),
            |s| s.gate.roles().assign(s.ada, s.privileged).unwrap(),
        ),
        (
            K::PrivilegedRoleUnassigned,
            |s| (S::User(s.boss), Some(S::Role(s.privileged))),
            |s| s.gate.roles().unassign(s.boss, s.privileged).unwrap(),
        ),
        (
            K::BreakGlass,
            |s| (S::User(s.ada), Some(S::Role(s.reader))),
            |s| {
                let terms = Grant::break_glass("fire", Timestamp::from_millis(4_000_000_000_000));
                s.gate.roles().assign_with(s.ada, s.reader, &terms).unwrap();
            },
        ),
        (
            K::PrivilegedBreakGlass,
            |s| (S::User(s.ada), Some(S::Role(s.privileged))),
            |s| {
                let terms = Grant::break_glass("fire", Timestamp::from_millis(4_000_000_000_000));
                s.gate.roles().assign_with(s.ada, s.privileged, &terms).unwrap();
            },
        ),
        (
            K::PrivilegedRoleChanged,
            |s| (S::Role(s.privileged), None),
            |s| s.gate.roles().grant(s.privileged, [s.write]).unwrap(),
        ),
        (
            K::PrivilegedRoleDeleted,
            |s| (S::Role(s.privileged), None),
            |s| s.gate.roles().delete(s.privileged).unwrap(),
        ),
        (
            K::RoleMarked,
            |s| (S::Role(s.writer), None),
            |s| {
                s.gate.roles().update(s.writer, RoleChange::new().protected(true)).unwrap();
            },
        ),
        (K::RoleDenied, |s| (S::Role(s.reader), None), |s| s.gate.roles().deny(s.reader, [s.write]).unwrap()),
        (
            K::RoleDenialLifted,
            |s| (S::Role(s.reader), None),
            |s| s.gate.roles().lift(s.reader, [s.read]).unwrap(),
        ),
        (
            K::AccessGranted,
            |s| (S::User(s.ada), Some(S::Permission(s.read))),
            |s| s.gate.access().grant(s.ada, s.read, &Grant::new()).unwrap(),
        ),
        (
            K::AccessWithdrawn,
            |s| (S::User(s.boss), Some(S::Permission(s.read))),
            |s| s.gate.access().withdraw(s.boss, s.read, ScopeId::ROOT).unwrap(),
        ),
        (
            K::ScopeCreated,
            |_| (S::Scope(ScopeId::from_number(4)), None),
            |s| {
                s.gate.scopes().create(s.scope, "new").unwrap();
            },
        ),
        (
            K::ScopeRenamed,
            |s| (S::Scope(s.scope), None),
            |s| s.gate.scopes().rename(s.scope, "renamed").unwrap(),
        ),
        (
            K::ScopeMoved,
            |s| (S::Scope(s.inner), Some(S::Scope(s.scope))),
            |s| s.gate.scopes().move_to(s.inner, s.scope).unwrap(),
        ),
        (K::ScopeDeleted, |s| (S::Scope(s.scope), None), |s| s.gate.scopes().delete(s.scope).unwrap()),
        (
            K::DelegationCreated,
            |s| (S::Role(s.privileged), Some(S::Role(s.reader))),
            |s| {
                let range = RoleRange::Below(s.reader);
                s.gate.delegations().create(s.privileged, range, [Ability::Assign]).unwrap();
            },
        ),
        (
            K::DelegationDeleted,
            |s| (S::Role(s.privileged), Some(S::Role(s.writer))),
            |s| s.gate.delegations().delete(s.delegation).unwrap(),
        ),
        (
            K::PermissionUpdated,
            |s| (S::Permission(s.read), None),
            |s| {
                s.gate.permissions().describe(s.read, "reads reports").unwrap();
            },
        ),
        (
            K::PermissionDeleted,
            |s| (S::Permission(s.read), None),
            |s| s.gate.permissions().delete(s.read).unwrap(),
        ),
        (
            K::SessionRevoked,
            |s| (S::User(s.ada), Some(S::Session(s.session))),
            |s| {
                s.gate.sessions().revoke(s.session).unwrap();
            },
        ),
        (K::SessionsRevoked, |s| (S::User(s.ada), None), |s| s.gate.sessions().revoke_all(s.ada).unwrap()),
        (
            K::DeviceRenamed,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.devices().rename(s.ada, s.device(), "tablet").unwrap();
            },
        ),
        (
            K::LoginFailuresCleared,
            |s| (S::User(s.ada), None),
            |s| assert!(s.gate.users().clear_login_failures(s.ada).unwrap()),
        ),
        (
            K::DeviceRevoked,
            |s| (S::User(s.ada), None),
            |s| s.gate.devices().revoke(s.ada, s.device()).unwrap(),
        ),
        (
            K::DeviceRevoked,
            |s| (S::User(s.ada), None),
            |s| assert_eq!(s.gate.devices().forget_all(s.ada).unwrap(), 1),
        ),
        (
            K::SessionsRevoked,
            |s| (S::User(s.ada), Some(S::Session(s.session))),
            |s| {
                s.gate.sessions().revoke_others(s.session).unwrap();
            },
        ),
        (
            K::UserCreated,
            |s| (S::User(UserId::from_number(s.ada.get() + 1)), None),
            |s| {
                s.gate.users().create(NewUser::new("eve").email("eve@x.org").profile("a", 1)).unwrap();
            },
        ),
        (
            K::RoleCreated,
            |_| (S::Role(RoleId::from_number(4)), None),
            |s| {
                s.gate.roles().create("more", [s.read]).unwrap();
            },
        ),
        (
            K::RoleActivated,
            |s| (S::Session(s.selecting), Some(S::Role(s.privileged))),
            |s| s.gate.sessions().activate(s.selecting, s.privileged).unwrap(),
        ),
        (
            K::RoleDeactivated,
            |s| (S::Session(s.selecting), Some(S::Role(s.reader))),
            |s| s.gate.sessions().deactivate(s.selecting, s.reader).unwrap(),
        ),
        (
            K::SeparationCreated,
            |_| (S::Separation(SeparationId::from_number(1)), None),
            |s| {
                let roles = [s.reader, s.writer];
                s.gate.separation().create(SeparationKind::Dynamic, "new", roles, 2).unwrap();
            },
        ),
        (
            K::SeparationChanged,
            |s| (S::Separation(s.apart), None),
            |s| s.gate.separation().add_role(s.apart, RoleId::from_number(3)).unwrap(),
        ),
        (
            K::SeparationDeleted,
            |s| (S::Separation(s.apart), None),
            |s| s.gate.separation().delete(s.apart).unwrap(),
        ),
        (
            K::FlagDefined,
            |_| (S::Flag(Flag::from_number(1)), None),
            |s| {
                s.gate.flags().define("more").unwrap();
            },
        ),
        (
            K::FlagUpdated,
            |s| (S::Flag(s.flag), None),
            |s| {
                s.gate.flags().update(s.flag, FlagChange::new().owner("payments")).unwrap();
            },
        ),
        (K::FlagSet, |s| (S::Flag(s.flag), None), |s| s.gate.flags().set(s.flag, FlagState::Off).unwrap()),
        (
            K::FlagPercentageSet,
            |s| (S::Flag(s.flag), None),
            |s| s.gate.flags().set_percentage(s.flag, 1250).unwrap(),
        ),
        (
            K::FlagRuleSet,
            |s| (S::Flag(s.flag), Some(S::Scope(s.scope))),
            |s| s.gate.flags().turn_off(s.flag, FlagTarget::Scope(s.scope)).unwrap(),
        ),
        (
            K::FlagRuleRemoved,
            |s| (S::Flag(s.flag), Some(S::Role(s.reader))),
            |s| s.gate.flags().remove_rule(s.flag, FlagTarget::Role(s.reader), ScopeId::ROOT).unwrap(),
        ),
        (
            K::PasskeyRegistered,
            |s| (S::User(s.ada), None),
            |s| {
                register(&s.gate, s.ada, &mut Authenticator::named("another")).unwrap();
            },
        ),
        (
            K::PasskeyRenamed,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.passkeys().rename(s.ada, s.passkey, "blue key").unwrap();
            },
        ),
        (
            K::PasskeyRemoved,
            |s| (S::User(s.ada), None),
            |s| s.gate.passkeys().remove(s.ada, s.passkey).unwrap(),
        ),
        (K::FlagDeleted, |s| (S::Flag(s.flag), None), |s| s.gate.flags().delete(s.flag).unwrap()),
        (
            K::FactorEnrolling,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.factors().enrol_totp(s.ada, "phone").unwrap();
            },
        ),
        (
            K::FactorEnrolled,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.factors().enrol_contact(s.ada, s.phone, "").unwrap();
            },
        ),
        (
            K::FactorRemoved,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.factors().remove(s.ada, s.factor).unwrap();
            },
        ),
        (
            K::RecoveryCodesIssued,
            |s| (S::User(s.ada), None),
            |s| {
                s.gate.factors().issue_recovery_codes(s.ada).unwrap();
            },
        ),
        (
            K::PermissionDefined,
            |_| (S::Permission(Permission::from_bit(2)), None),
            |s| {
                s.gate.permissions().define("more").unwrap();
            },
        ),
    ]
};

#[test]
fn every_change_writes_exactly_one_record_that_says_who_did_what_to_whom() {
    let mut kinds = BTreeSet::new();
    for (kind, subjects, run) in OPERATIONS {
        let scene = scene();
        scene.gate.roles().create("fresh", []).unwrap();
        let before = scene.gate.audit().head().length;
        let (subject, object) = subjects(&scene);
        run(&scene);
        assert_eq!(scene.gate.audit().head().length, before + 1, "{kind}");
        let last = backwards(|page| scene.gate.audit().list(page)).remove(0);
        assert_eq!((last.kind, last.outcome, last.actor), (*kind, Outcome::Success, Actor::User(scene.boss)));
        assert_eq!((last.subject, last.object, last.sequence), (Some(subject), object, before), "{kind}");
        assert!(last.operation != 0 && last.to_string().contains(kind.name()), "{last}");
        kinds.insert(*kind);
        sound(&scene.gate);
    }
    kinds.extend(ELSEWHERE);
    kinds.extend(PRESENTED.into_iter().chain(KEYS).chain(crate::bulk::KINDS));
    kinds.extend(crate::impersonation::KINDS);
    assert!(kinds.iter().eq(AuditKind::ALL), "{kinds:?}");
}
