//! What is refused writes nothing into the audit log.

use crate::audit_kinds::{OPERATIONS, Scene, scene};
use portcullis::{
    AuditKind, ContactId, DelegationId, FactorId, Flag, PasskeyId, Permission, RoleId, ScopeId, SeparationId,
    SessionId, UserId,
};

#[test]
fn what_is_refused_writes_nothing() {
    for (kind, _, run) in OPERATIONS {
        let scene = scene();
        scene.gate.roles().create("fresh", []).unwrap();
        run(&scene);
        let before = scene.gate.audit().head();
        // Nothing is there under these numbers, whatever the operation.
        let nobody = Scene {
            ada: UserId::from_number(999),
            boss: UserId::from_number(999),
            reader: RoleId::from_number(999),
            writer: RoleId::from_number(999),
            read: Permission::from_bit(999),
            write: Permission::from_bit(999),
            session: SessionId::from_number(999),
            selecting: SessionId::from_number(999),
            apart: SeparationId::from_number(999),
            privileged: RoleId::from_number(999),
            scope: ScopeId::from_number(999),
            inner: ScopeId::from_number(999),
            delegation: DelegationId::from_number(999),
            flag: Flag::from_number(999),
            phone: ContactId::from_number(999),
            factor: FactorId::from_number(999),
            passkey: PasskeyId::from_number(999),
            gate: scene.gate.clone(),
        };
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&nobody)));
        if matches!(kind, AuditKind::PermissionDefined | AuditKind::FlagDefined) {
            refused.unwrap(); // defining again is no error, and no change
        } else {
            assert!(refused.is_err(), "{kind}");
        }
        assert_eq!(scene.gate.audit().head(), before, "{kind}");
    }
}
