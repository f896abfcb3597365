//! Permissions that a program declares in its source, against what the database has stored.

use crate::support::{Disk, all, everything, refused, sound, user, world};
use portcullis::testing::FaultPoint;
use portcullis::{
    AuditKind, Builder, DeclaredPermission, ErrorKind, Grant, Permission, PermissionInfo, PermissionSet,
    Portcullis,
};
use std::collections::BTreeSet;
use std::sync::Barrier;

portcullis::permissions! {
    /// What the application of these tests may do.
    pub(crate) struct App;
    READ = "report:read", "reads reports";
    /// A line of its own documentation.
    WRITE = "report:write", "writes reports";
    SIGN_OFF = concat!("report", ":sign"), "signs reports off", bit = 2 + 3;
    DELETE = "report:delete", "";
}

/// A module of its own, and private: what a library would do.
mod library {
    const FIRST: u32 = 1000;
    portcullis::permissions! {
        struct Own;
        SEND = "mail:send", "sends mail", bit = FIRST;
        READ = "mail:read", "reads mail";
    }
    pub(crate) const ALL: &[portcullis::DeclaredPermission] = Own::DECLARED;
    pub(crate) const BOTH: [portcullis::Permission; 2] = [Own::SEND, Own::READ];
}

const fn bit(number: u32) -> Permission {
    Permission::from_bit(number)
}

const fn one(number: u32, name: &'static str) -> DeclaredPermission {
    DeclaredPermission::new(bit(number), name, "")
}

fn memory(declared: &[DeclaredPermission]) -> portcullis::Result<Portcullis> {
    Portcullis::builder().declare(declared).in_memory()
}

fn names(gate: &Portcullis) -> Vec<(u32, String)> {
    let listed: Vec<PermissionInfo> = all(|page| gate.permissions().list(page));
    listed.into_iter().map(|info| (info.permission.bit(), info.name)).collect()
}

fn pairs(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
    expected.iter().map(|(bit, name)| (*bit, (*name).to_owned())).collect()
}

/// So many names that live as long as the program.
fn many(count: u32) -> Vec<DeclaredPermission> {
    (0..count).map(|number| one(number, format!("p:{number}").leak())).collect()
}

#[test]
fn lines_are_constants_numbered_by_place_or_as_they_say() {
    const EVERYDAY: [Permission; 2] = [App::READ, App::WRITE];
    static LAST: Permission = App::DELETE;
    assert_eq!(EVERYDAY.map(Permission::bit), [0, 1]);
    assert_eq!((App::SIGN_OFF.bit(), LAST.bit()), (5, 6));
    let table: Vec<_> =
        App::DECLARED.iter().map(|one| (one.permission().bit(), one.name(), one.description())).collect();
    assert_eq!(
        table,
        [
            (0, "report:read", "reads reports"),
            (1, "report:write", "writes reports"),
            (5, "report:sign", "signs reports off"),
            (6, "report:delete", ""),
        ]
    );
    assert_eq!(library::BOTH.map(Permission::bit), [1000, 1001]);
    assert_eq!((size_of::<App>(), format!("{App:?}")), (0, "App".to_owned()));
    // Within a function as well.
    portcullis::permissions! { struct Local; ONLY = "only", "", bit = 9; }
    assert_eq!(Local::DECLARED, [one(9, "only")]);
}

#[test]
fn an_open_stores_each_under_its_number_and_the_next_one_has_nothing_to_do() {
    let disk = Disk::new();
    let open = || disk.open_with(|builder| builder.declare(App::DECLARED).declare(library::ALL));
    let gate = open().unwrap();
    let due = [
        (0, "report:read"),
        (1, "report:write"),
        (5, "report:sign"),
        (6, "report:delete"),
        (1000, "mail:send"),
        (1001, "mail:read"),
    ];
    assert_eq!(names(&gate), pairs(&due));
    let info = gate.permissions().find("report:sign").unwrap().unwrap();
    assert_eq!((info.permission, info.description.as_str()), (App::SIGN_OFF, "signs reports off"));
    let records = all(|page| gate.audit().list(page));
    assert_eq!(records.len(), due.len());
    assert!(records.iter().all(|record| record.kind == AuditKind::PermissionDefined));
    let operations: BTreeSet<_> = records.iter().map(|record| record.operation).collect();
    assert_eq!(operations.len(), 1, "all in one commit");
    // A check with a constant is a check of what was granted by name.
    let role = gate.roles().create("reader", [info.permission, library::BOTH[1]]).unwrap();
    let ada = user(&gate, "ada").id;
    gate.roles().assign(ada, role).unwrap();
    let may = |gate: &Portcullis, permission| gate.check(ada, permission).unwrap().is_allowed();
    assert!(may(&gate, App::SIGN_OFF) && may(&gate, library::BOTH[1]) && !may(&gate, App::READ));
    let before = everything(&gate);
    gate.close().unwrap();
    drop(gate);
    let gate = open().unwrap();
    assert_eq!(everything(&gate), before, "nothing was written");
    assert!(may(&gate, App::SIGN_OFF) && !may(&gate, App::READ));
    gate.permissions().declare(App::DECLARED).unwrap();
    gate.permissions().declare(&[]).unwrap();
    assert_eq!(everything(&gate), before);
    sound(&gate);
}

#[test]
fn another_bit_or_another_name_is_refused_with_both_and_what_to_do() {
    let disk = Disk::new();
    let open = |declared: &[DeclaredPermission]| disk.open_with(|builder| builder.declare(declared));
    let gate = open(&[one(0, "a"), one(1, "b"), one(2, "c")]).unwrap();
    let before = everything(&gate);
    drop(gate);
    for (declared, told) in [
        (vec![one(3, "a")], vec![r#""a" is declared with bit 3 and stored with bit 0 (use `bit = 0`)"#]),
        (vec![one(1, "x")], vec![r#"bit 1 is declared as "x" and stored as "b" (use another bit)"#]),
        // Two lines that were exchanged, beside one that is right and one that is new.
        (
            vec![one(1, "a"), one(0, "b"), one(2, "c"), one(7, "d")],
            vec![
                "2 of 4 declared",
                r#""a" is declared with bit 1 and stored with bit 0"#,
                r#"bit 1 is declared as "a" and stored as "b""#,
                r#""b" is declared with bit 0 and stored with bit 1"#,
                r#"bit 0 is declared as "b" and stored as "a""#,
                "Bits from 8 on are free",
            ],
        ),
    ] {
        let error = refused(open(&declared).map(drop), ErrorKind::Mismatch, Some("declared"));
        for told in told {
            assert!(error.to_string().contains(told), "{told}: {error}");
        }
        // The lock is free again at once, and nothing was changed.
        let gate = disk.open();
        assert_eq!(everything(&gate), before);
        let on_handle = gate.permissions().declare(&declared);
        assert_eq!(refused(on_handle, ErrorKind::Mismatch, Some("declared")).to_string(), error.to_string());
        assert_eq!(everything(&gate), before);
    }
    sound(&open(&[one(2, "c"), one(1, "b"), one(0, "a"), one(3, "d")]).unwrap());
}

#[test]
fn so_many_disagreements_are_told_and_the_others_counted() {
    let gate = memory(&many(100)).unwrap();
    let moved: Vec<_> = (0..100).map(|number| one(number + 200, format!("p:{number}").leak())).collect();
    let told = refused(gate.permissions().declare(&moved), ErrorKind::Mismatch, Some("declared")).to_string();
    assert!(told.contains("100 of 100") && told.contains("; and 84 more"), "{told}");
    assert_eq!(told.matches("is declared with bit").count(), 16, "{told}");
    assert!(told.len() < 2000, "{} bytes", told.len());
}

#[test]
fn the_bit_of_a_deleted_permission_is_never_used_again() {
    let disk = Disk::new();
    let open = |declared: &[DeclaredPermission]| disk.open_with(|builder| builder.declare(declared));
    let gate = open(&[one(0, "a"), one(1, "b")]).unwrap();
    let role = gate.roles().create("r", [bit(1)]).unwrap();
    let at = gate.now();
    gate.permissions().delete(bit(1)).unwrap();
    drop(gate);
    for declared in [[one(0, "a"), one(1, "b")], [one(0, "a"), one(1, "new")]] {
        let error = refused(open(&declared).map(drop), ErrorKind::Mismatch, Some("declared"));
        let told = format!(
            r#"bit 1 is declared as "{}" and was "b" until that was deleted at {at}"#,
            declared[1].name()
        );
        assert!(error.to_string().contains(&told), "{error}");
    }
    // The name is free under another bit, and is another permission.
    let gate = open(&[one(0, "a"), one(2, "b")]).unwrap();
    assert!(gate.roles().effective(role).unwrap().is_empty());
    assert_eq!(gate.permissions().define("c").unwrap(), bit(3));
    // Also one that was defined at run time and deleted, and one that is deleted twice over.
    gate.permissions().delete(bit(3)).unwrap();
    gate.permissions().delete(bit(2)).unwrap();
    let error = refused(
        gate.permissions().declare(&[one(2, "b"), one(3, "c"), one(4, "d")]),
        ErrorKind::Mismatch,
        Some("declared"),
    );
    assert!(error.to_string().contains("2 of 3 declared"), "{error}");
    sound(&gate);
}

#[test]
fn bits_that_are_passed_over_are_kept_for_declarations() {
    let gate = memory(&[one(0, "a"), one(99, "kept")]).unwrap();
    assert_eq!(gate.permissions().define("custom").unwrap(), bit(100));
    gate.permissions().declare(&[one(0, "a"), one(1, "later"), one(98, "too"), one(99, "kept")]).unwrap();
    assert_eq!(gate.permissions().define("custom 2").unwrap(), bit(101));
    let due = [(0, "a"), (1, "later"), (98, "too"), (99, "kept"), (100, "custom"), (101, "custom 2")];
    assert_eq!(names(&gate), pairs(&due));
    sound(&gate);
}

#[test]
fn what_is_defined_at_run_time_shares_the_numbers_and_is_in_the_way_of_a_later_declaration() {
    let disk = Disk::new();
    let gate = disk.open_with(|builder| builder.declare(&[one(0, "a"), one(1, "b")])).unwrap();
    assert_eq!(gate.permissions().define("custom:x").unwrap(), bit(2));
    drop(gate);
    // The next release appends a line.
    let open =
        |number| disk.open_with(|builder| builder.declare(&[one(0, "a"), one(1, "b"), one(number, "c")]));
    let told = refused(open(2).map(drop), ErrorKind::Mismatch, Some("declared")).to_string();
    assert!(told.contains(r#"bit 2 is declared as "c" and stored as "custom:x""#), "{told}");
    assert!(told.contains("Bits from 3 on are free"), "{told}");
    let gate = open(3).unwrap();
    // A name that was made at run time can be declared, under the number it has.
    gate.permissions().declare(&[one(2, "custom:x")]).unwrap();
    refused(gate.permissions().declare(&[one(4, "custom:x")]), ErrorKind::Mismatch, Some("declared"));
}

#[test]
fn sets_that_are_in_each_others_way_are_refused_before_anything_is_opened() {
    let disk = Disk::new();
    for (first, second, told) in [
        (one(3, "a"), one(3, "b"), r#"bit 3 is declared as "a" and as "b""#),
        (one(3, "a"), one(4, "a"), r#""a" is declared with bit 3 and with bit 4"#),
    ] {
        for (first, second) in [(first, second), (second, first)] {
            let both =
                |builder: Builder| builder.declare(&[one(1, "x"), first]).declare(&[second, one(2, "y")]);
            let error = refused(disk.open_with(both).map(drop), ErrorKind::InvalidInput, Some("declared"));
            assert!(error.to_string().contains(told), "{error}");
            refused(
                both(Portcullis::builder()).in_memory().map(drop),
                ErrorKind::InvalidInput,
                Some("declared"),
            );
            assert!(!disk.path.exists(), "no database was made");
        }
    }
    // The same declaration twice is one; of two descriptions the first is taken.
    let twice =
        [DeclaredPermission::new(bit(1), "x", "first"), DeclaredPermission::new(bit(1), "x", "second")];
    let gate = Portcullis::builder().declare(&twice).declare(&twice).in_memory().unwrap();
    assert_eq!(gate.permissions().get(bit(1)).unwrap().description, "first");
    assert_eq!(gate.audit().head().length, 1);
}

#[test]
fn a_stored_description_stays() {
    let gate = memory(App::DECLARED).unwrap();
    gate.permissions().describe(App::READ, "said by an administrator").unwrap();
    let head = gate.audit().head();
    gate.permissions().declare(App::DECLARED).unwrap();
    assert_eq!(gate.permissions().get(App::READ).unwrap().description, "said by an administrator");
    assert_eq!(gate.audit().head(), head);
}

#[test]
fn what_can_not_be_stored_is_refused_with_its_name() {
    let disk = Disk::new();
    let long: &'static str = "x".repeat(10_000).leak();
    for (declared, told) in [
        (one(1, ""), r#""" with bit 1 can not be stored: its name: is empty"#),
        (one(1, " a"), r#"" a" with bit 1 can not be stored: its name: begins or ends"#),
        (one(1, "a\nb"), r#""a\nb" with bit 1 can not be stored: its name: has the control"#),
        (one(1, "a\u{301}"), "its name: is not in Unicode normal form C"),
        (one(1, long), "its name: has 10000 bytes"),
        (
            DeclaredPermission::new(bit(1), "a", long),
            r#""a" with bit 1 can not be stored: its description: has 10000"#,
        ),
        (one(Permission::LIMIT, "a"), r#""a" has bit 1048576; bits are 0 to 1048575"#),
        (one(u32::MAX, "a"), r#""a" has bit 4294967295"#),
    ] {
        let open = disk.open_with(|builder| builder.declare(&[one(0, "fine"), declared]));
        let error = refused(open.map(drop), ErrorKind::InvalidInput, Some("declared"));
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.to_string().len() < 400, "{error}");
        assert!(!disk.path.exists(), "no database was made");
        let gate = world().gate;
        refused(
            gate.permissions().declare(&[one(0, "fine"), declared]),
            ErrorKind::InvalidInput,
            Some("declared"),
        );
        assert_eq!(gate.audit().head().length, 0);
    }
    // The last number there is can be had, and is then the last.
    let gate = memory(&[one(Permission::LIMIT - 1, "last")]).unwrap();
    let role = gate.roles().create("r", [bit(Permission::LIMIT - 1)]).unwrap();
    assert_eq!(gate.roles().effective(role).unwrap().len(), 1);
    refused(gate.permissions().define("more"), ErrorKind::LimitExceeded, Some("id"));
    gate.permissions().declare(&[one(5, "still")]).unwrap();
    sound(&gate);
}

#[test]
fn many_take_few_commits_and_a_failure_between_is_made_good_by_the_next_open() {
    let declared = many(50);
    for failing in 1..=3 {
        let disk = Disk::new();
        disk.open().close().unwrap();
        disk.faults.fail(FaultPoint::JournalWrite, failing);
        disk.open_with(|builder| builder.declare(&declared)).map(drop).unwrap_err();
        assert!(!disk.faults.pending());
        let gate = disk.open();
        let there = names(&gate);
        assert_eq!(there.len() as u64, (failing - 1) * 20, "whole commits, by rising bit");
        assert!(there.iter().zip(0..).all(|((stored, _), number)| *stored == number));
        // Already out of the way of what is defined meanwhile.
        let custom = gate.permissions().define("custom").unwrap();
        assert_eq!(custom.bit(), if failing == 1 { 0 } else { 50 });
        gate.permissions().delete(custom).unwrap();
        drop(gate);
        let again = disk.open_with(|builder| builder.declare(&declared));
        if failing == 1 {
            // The number was taken by another permission before the program got to declare its own.
            refused(again.map(drop), ErrorKind::Mismatch, Some("declared"));
            continue;
        }
        let gate = again.unwrap();
        assert_eq!(names(&gate).len(), 50);
        sound(&gate);
    }
    let gate = memory(&declared).unwrap();
    let records = all(|page| gate.audit().list(page));
    let operations: BTreeSet<_> = records.iter().map(|record| record.operation).collect();
    assert_eq!((records.len(), operations.len()), (50, 3));
}

#[test]
fn opens_that_race_find_each_others_declarations() {
    let disk = Disk::new();
    let (declared, start) = (many(30), Barrier::new(4));
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (disk, declared, start) = (&disk, &declared, &start);
            scope.spawn(move || {
                start.wait();
                // Two programs that agree but for a set of their own, which is in nobody's way.
                let own = [one(100 + thread, format!("own:{thread}").leak())];
                loop {
                    match disk.open_with(|builder| builder.declare(declared).declare(&own)) {
                        Ok(gate) => {
                            assert!(names(&gate).len() >= 31);
                            return;
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
                    }
                    std::thread::yield_now();
                }
            });
        }
    });
    let gate = disk.open();
    assert_eq!(names(&gate).len(), 34);
    sound(&gate);
}

#[test]
fn declarations_and_definitions_that_race_never_share_a_bit_or_a_name() {
    for round in 0..20 {
        let gate = world().gate;
        let start = Barrier::new(4);
        let declared = many(45);
        // The second program has the same names the other way round: one of the two must be refused.
        let reversed: Vec<_> =
            declared.iter().map(|this| one(44 - this.permission().bit(), this.name())).collect();
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let tasks: Vec<_> = [&declared, &reversed, &declared]
                .map(|set| {
                    let (gate, start) = (&gate, &start);
                    scope.spawn(move || {
                        start.wait();
                        match gate.permissions().declare(set) {
                            Ok(()) => true,
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
                                false
                            }
                        }
                    })
                })
                .into_iter()
                .collect();
            start.wait();
            for number in 0..20 {
                let custom = gate.permissions().define(&format!("custom:{number}")).unwrap();
                if number % 3 == 0 {
                    gate.permissions().delete(custom).unwrap();
                }
            }
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert!(!(outcomes[1] && (outcomes[0] || outcomes[2])), "round {round}: {outcomes:?}");
        for (set, done) in [&declared, &reversed].into_iter().zip([outcomes[0] || outcomes[2], outcomes[1]]) {
            for this in set.iter().filter(|_| done) {
                assert_eq!(
                    gate.permissions().get(this.permission()).unwrap().name,
                    this.name(),
                    "round {round}"
                );
            }
        }
        sound(&gate);
    }
}

#[test]
fn deleting_while_it_is_declared_leaves_no_bit_with_two_meanings() {
    for _ in 0..50 {
        let gate = memory(&[one(0, "a")]).unwrap();
        let role = gate.roles().create("r", [bit(0)]).unwrap();
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                gate.permissions().delete(bit(0)).unwrap();
            });
            start.wait();
            let _ = gate.permissions().declare(&[one(0, "a"), one(1, "b")]);
        });
        assert!(gate.permissions().find("a").unwrap().is_none());
        refused(gate.permissions().declare(&[one(0, "z")]), ErrorKind::Mismatch, Some("declared"));
        assert_eq!(gate.roles().effective(role).unwrap(), PermissionSet::new());
        sound(&gate);
    }
}

#[test]
fn a_grant_of_a_declared_permission_needs_no_look_up() {
    let gate = memory(App::DECLARED).unwrap();
    let ada = user(&gate, "ada").id;
    gate.access().grant(ada, App::SIGN_OFF, &Grant::new()).unwrap();
    assert!(gate.check(ada, App::SIGN_OFF).unwrap().is_allowed());
    // What was passed over is no permission, and can not be granted ahead of its declaration.
    assert!(gate.access().grant(ada, bit(3), &Grant::new()).is_err());
    assert!(gate.roles().create("r", [bit(3)]).is_err());
}
