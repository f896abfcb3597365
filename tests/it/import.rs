//! Users in bulk: what arrives, what is told, and that nothing arrives by half.

use crate::legacy::{HASHES, credential};
use crate::support::*;
use portcullis::import::{Import, Problem, Summary};
use portcullis::testing::FaultPoint;
use portcullis::{
    AuditKind, ConfusableNames, ContactKind, Denial, ErrorKind, Portcullis, RoleId, ScopeId, SeparationKind,
    Status, StatusKind, Timestamp, Value,
};
use std::io::Read;

/// What a walk gave, and all that it told.
type Walked = (portcullis::Result<Summary>, Vec<Problem>);

pub(crate) fn dry_run(import: &Import<'_>, file: &str) -> Walked {
    let mut problems = Vec::new();
    (import.dry_run(file.as_bytes(), |problem| problems.push(problem.clone())), problems)
}

pub(crate) fn run(import: &Import<'_>, file: &str) -> Walked {
    let mut problems = Vec::new();
    (import.run(file.as_bytes(), |problem| problems.push(problem.clone())), problems)
}

/// Lines, accepted, skipped, refused.
pub(crate) fn counts((summary, _): &Walked) -> [u64; 4] {
    let found = summary.as_ref().unwrap();
    assert_eq!(found.lines, found.accepted + found.skipped + found.refused);
    [found.lines, found.accepted, found.skipped, found.refused]
}

fn told((_, problems): &Walked) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn roles_of(gate: &Portcullis, login: &str) -> Vec<(RoleId, ScopeId)> {
    let user = gate.users().find(login).unwrap().unwrap();
    all(|page| gate.roles().of_user(user.id, page))
        .iter()
        .map(|held| (held.role, held.terms.scope()))
        .collect()
}

#[test]
fn everything_of_a_line_arrives() {
    let world = world();
    let gate = &world.gate;
    let acme = gate.scopes().ensure("acme").unwrap();
    let project = gate.scopes().ensure("acme/p42").unwrap();
    let viewer = gate.roles().create("viewer", []).unwrap();
    let own = gate.roles().create_in(acme, "viewer", []).unwrap();
    let editor = gate.roles().create("editor", []).unwrap();
    let file = r#"{"login": "Ada", "emails": ["a@x.org", {"address": "ada@example.org", "verified": true, "label": "work"}],
        "phones": [{"number": "+43 1 234", "verified": false}, "0"], "password": "correct horse battery staple",
        "must_change": true, "status": {"kind": "locked", "reason": "moved", "until": "2030-01-01T00:00:00Z"},
        "profile": {"team": "engines", "age": 36, "vip": true, "since": {"time": "1843-01-01T00:00:00Z"}},
        "preferences": {"lang": "en"}, "roles": ["viewer", {"role": "viewer", "scope": "acme/p42"},
        {"role": "editor", "scope": "acme"}, {"role": "editor"}], "home": "acme", "created": "2019-02-03T04:05:06.007Z"}"#;
    let file = file.replace('\n', " ");
    let walked = dry_run(&Import::new(gate), &file);
    assert_eq!(
        told(&walked),
        ["line 1: profile: is no instant of RFC 3339 in UTC, such as 2024-03-01T12:00:00Z"]
    );
    let file = file.replace("1843-", "1943-").replace("1943-01-01T00:00:00Z", "1999-01-01T00:00:00Z");
    assert_eq!(counts(&run(&Import::new(gate), &file)), [1, 1, 0, 0]);

    let ada = gate.users().find("ada").unwrap().unwrap();
    assert_eq!((ada.login.as_str(), ada.home), ("Ada", acme));
    assert_eq!(ada.created.to_string(), "2019-02-03T04:05:06.007Z");
    assert_eq!((ada.status.kind, ada.status.reason.as_deref()), (StatusKind::Locked, Some("moved")));
    assert_eq!(ada.status.until.unwrap().to_string(), "2030-01-01T00:00:00.000Z");
    let contacts = all(|page| gate.users().contacts(ada.id, page));
    let seen: Vec<_> =
        contacts.iter().map(|c| (c.kind, c.value.as_str(), c.label.as_str(), c.verified.is_some())).collect();
    assert_eq!(
        seen,
        [
            (ContactKind::Email, "a@x.org", "", false),
            (ContactKind::Email, "ada@example.org", "work", true),
            (ContactKind::Phone, "+43 1 234", "", false),
            (ContactKind::Phone, "0", "", false),
        ]
    );
    let profile = gate.users().profile(ada.id).unwrap();
    assert_eq!(profile["team"], Value::Text("engines".to_owned()));
    assert_eq!((&profile["age"], &profile["vip"]), (&Value::Integer(36), &Value::Bool(true)));
    assert_eq!(profile["since"], Value::Time(Timestamp::from_millis(915_148_800_000)));
    assert_eq!(gate.users().preferences(ada.id).unwrap()["lang"], Value::Text("en".to_owned()));
    let mut expected = vec![(viewer, ScopeId::ROOT), (own, project), (editor, acme), (editor, ScopeId::ROOT)];
    expected.sort_unstable();
    assert_eq!(roles_of(gate, "ada"), expected);
    assert!(log_in(gate, "ada", PASSWORD).unwrap_err().is_denied(), "locked");
    gate.users().set_status(ada.id, Status::active()).unwrap();
    let error = log_in(gate, "ada", PASSWORD).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::PasswordChangeRequired));
    sound(gate);
}

#[test]
fn users_and_roles_have_the_audit_records_that_they_have_when_made_by_hand() {
    let world = world();
    let gate = &world.gate;
    let boss = world.user("boss").id;
    let viewer = gate.roles().create("viewer", []).unwrap();
    let gate = &gate.acting_as(boss);
    let before = gate.audit().head().length;
    let file = r#"
        {"login": "ada", "roles": ["viewer"]}
        {"login": "bob"}"#;
    assert_eq!(counts(&run(&Import::new(gate), file)), [2, 2, 0, 0]);
    let records = all(|page| gate.audit().list(page));
    let new: Vec<_> = records.iter().filter(|record| record.sequence >= before).collect();
    let kinds: Vec<_> = new.iter().map(|record| (record.kind, record.detail.as_str())).collect();
    let imported = [(AuditKind::UserCreated, "ada"), (AuditKind::RoleAssigned, new[1].detail.as_str())];
    assert_eq!(kinds[..2], imported);
    assert_eq!(kinds[2..], [(AuditKind::UserCreated, "bob")]);
    assert!(new.iter().all(|record| record.actor == portcullis::Actor::User(boss)));
    assert_eq!(new[0].operation, new[2].operation, "several to a commit");
    let held = all(|page| gate.roles().holders(viewer, page));
    assert_eq!(held[0].by, Some(boss));
}

#[test]
fn every_problem_of_every_line_is_told_and_nothing_is_changed() {
    let world = world();
    let gate = &world.gate;
    world.user("Taken");
    let [cashier, auditor] = ["cashier", "auditor"].map(|name| gate.roles().create(name, []).unwrap());
    gate.separation().create(SeparationKind::Static, "till", [cashier, auditor], 2).unwrap();
    let long = format!("{{\"login\":\"{}\"}}", "x".repeat(1 << 17));
    let file = [
        r#"{"login": "ada", "emails": ["nowhere", {"label": "x"}], "roles": ["nobody", {"role": "cashier", "scope": "gone"}]}"#,
        r#"{"login": "TAKEN", "password": "hunter2"}"#,
        r#"{"login": "bob", "password_hash": "{PLAIN}hunter2", "shoe_size": 43}"#,
        "",
        r#"{"login": "a b", "password": 5, "must_change": "yes"}"#,
        r#"{"login": "ADA"}"#,
        r#"{"password": "hunter2hunter2hunter2", "password_hash": "$1$abcd$0123456789"}"#,
        r#"{"login": "cy", "roles": ["cashier", "auditor", "cashier"]}"#,
        "[1]",
        r#"{"login": "dan", "login": "dan2"}"#,
        "{\"login\": \"hunter2\", oops}",
        &long,
        r#"{"login": "eve", "must_change": true, "status": "asleep", "profile": {"a": 1.5, "b": [1]}, "created": "2999-01-01T00:00:00Z"}"#,
        r#"{"login": "fay", "password": "hunter2", "hunter2 = password": 1, "roles": "cashier"}"#,
        r#"{"login": "gus", "password_hash": "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}"#,
        r#"{"login": "fine", "emails": null}"#,
    ]
    .join("\n");
    let before = everything(gate);
    let walked = dry_run(&Import::new(gate), &file);
    assert_eq!(counts(&walked), [15, 1, 0, 14]);
    let told = told(&walked);
    let expected = [
        "line 1: emails[1]: is not an e-mail address",
        "line 1: emails[2]: has no address",
        "line 1: roles[1]: names the role \"nobody\", which does not exist",
        "line 1: roles[2]: names the scope \"gone\", which does not exist",
        "line 2: login: is taken in the database",
        "line 2: password: has 7 characters",
        "line 3: has the unknown field \"shoe_size\"",
        "line 3: password_hash: is of the scheme {PLAIN}, which is refused",
        "line 5: login: has the character U+0020",
        "line 5: password: is a number; text is expected",
        "line 5: must_change: is text; true or false is expected",
        "line 6: login: is taken by line 1",
        "line 7: login: is missing",
        "line 7: password_hash: is given beside a password",
        "line 8: roles[3]: gives the role \"cashier\" there twice",
        "line 8: roles: the user would have role 0, role 1 of the static separation \"till\"",
        "line 9: is a list; each line is an object",
        "line 10: has the field \"login\" twice",
        "line 11: is no JSON: key must be a string, at byte 22",
        "line 12: has more than 131072 bytes",
        "line 13: status: is none of active, pending, disabled and locked",
        "line 13: profile: has a number as the value of \"a\"",
        "line 13: profile: has a list as the value of \"b\"",
        "line 13: created: is yet to come",
        "line 13: must_change: is set for a user without a password",
        "line 14: has the unknown field of an unusual name",
        "line 14: roles: is text; a list is expected",
        "line 14: password: has 7 characters",
        "line 15: password_hash: is of the scheme bcrypt and asks for cost 31",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("hunter2") || line.contains("0123456789")), "{told:#?}");
    assert_eq!(everything(gate), before, "a dry run changes nothing");
    assert_eq!(gate.password_hashes_computed(), 1, "and hashes nothing");

    let real = run(&Import::new(gate), &file);
    assert_eq!((real.0.unwrap(), &real.1), (walked.0.unwrap(), &walked.1));
    let logins: Vec<String> =
        all(|page| gate.users().list(page)).into_iter().map(|user| user.login).collect();
    assert_eq!(logins, ["Taken", "fine"]);
    sound(gate);
}

#[test]
fn imported_hashes_open_sessions_whatever_the_rules_for_new_passwords() {
    let world = world();
    let gate = &world.gate;
    let mut file = String::new();
    let usable = |stored: &str| !stored.starts_with("$firebase");
    for (number, (stored, _)) in HASHES.iter().enumerate().filter(|(_, (stored, _))| usable(stored)) {
        file.push_str(&format!("{{\"login\":\"user{number}\",\"password_hash\":\"{stored}\"}}\n"));
    }
    file.push_str(concat!(
        r#"{"login":"keycloak","password_hash":{"type":"password","createdDate":1715945341964,"#,
        r#""secretData":"{\"value\":\"melJaiZVEhUuX0D3BknjCB9u6LIyHwuGMNvvpzb4UnI=\",\"salt\":\"0SlTWodi3ktkBhXAdCbo6A==\"}","#,
        r#""credentialData":"{\"hashIterations\":27500,\"algorithm\":\"pbkdf2-sha256\"}"}}"#
    ));
    let walked = run(&Import::new(gate), &file);
    assert_eq!(told(&walked), [""; 0]);
    assert_eq!(gate.password_hashes_computed(), 0, "what is given is not hashed");
    for (number, (stored, password)) in HASHES.iter().enumerate().filter(|(_, (stored, _))| usable(stored)) {
        let login = format!("user{number}");
        assert_eq!(log_in(gate, &login, "wrong").unwrap_err().denial(), Some(Denial::Credentials));
        log_in(gate, &login, password).unwrap_or_else(|error| panic!("{stored}: {error}"));
        let id = gate.users().find(&login).unwrap().unwrap().id;
        assert!(credential(gate, id).contains("$argon2id$v=19$m=8,t=1,p=1$"));
        log_in(gate, &login, password).unwrap();
    }
    log_in(gate, "keycloak", "admin").unwrap();
    let firebase = format!("{{\"login\":\"x\",\"password_hash\":\"{}\"}}", HASHES[7].0);
    let walked = dry_run(&Import::new(gate), &firebase);
    assert!(told(&walked)[0].contains("Builder::firebase_signer_key"), "{walked:?}");
}

#[test]
fn a_run_that_broke_off_goes_on_where_it_stopped() {
    let disk = Disk::new();
    let gate = disk.open();
    gate.roles().create("viewer", []).unwrap();
    let file: String = (0..200)
        .map(|number| {
            format!(
                "{{\"login\":\"user{number}\",\"emails\":[\"u{number}@x.org\"],\"roles\":[\"viewer\"]}}\n"
            )
        })
        .collect();
    // The storage fails in the middle.
    disk.faults.fail(FaultPoint::JournalWrite, 4);
    let (broken, problems) = run(&Import::new(&gate), &file);
    assert!(broken.unwrap_err().is_storage() && problems.is_empty());
    drop(gate);

    let gate = disk.open();
    let there = all(|page| gate.users().list(page)).len() as u64;
    assert!((1..200).contains(&there), "{there}");
    for user in all(|page| gate.users().list(page)) {
        assert_eq!(roles_of(&gate, &user.login).len(), 1, "each is there whole");
    }
    let refused = dry_run(&Import::new(&gate), &file);
    assert_eq!(counts(&refused), [200, 200 - there, 0, there]);
    let again = Import::new(&gate).skip_existing();
    let rest = [200, 200 - there, there, 0];
    assert_eq!(counts(&dry_run(&again, &file)), rest);
    assert_eq!(counts(&run(&again, &file)), rest);
    assert_eq!(counts(&run(&again, &file)), [200, 0, 200, 0]);
    drop(gate);
    let gate = disk.open();
    assert_eq!(all(|page| gate.users().list(page)).len(), 200);
    assert_eq!(roles_of(&gate, "user199").len(), 1);
    sound(&gate);
}

#[test]
fn who_takes_a_name_meanwhile_takes_one_user_and_not_the_commit() {
    let other: std::sync::Arc<std::sync::OnceLock<Portcullis>> = std::sync::Arc::default();
    let (inside, once) = (std::sync::Arc::clone(&other), std::sync::Once::new());
    let builder = Portcullis::builder().danger_fast_password_hashes().pause_in_password_hash(move || {
        once.call_once(|| {
            let gate = inside.get().unwrap();
            gate.users().create(portcullis::NewUser::new("BOB")).unwrap();
            gate.roles().delete(gate.roles().find("viewer").unwrap().unwrap().id).unwrap();
        });
    });
    let gate = builder.in_memory().unwrap();
    other.set(gate.clone()).unwrap();
    gate.roles().create("viewer", []).unwrap();
    let file = r#"
        {"login": "ada", "password": "correct horse battery staple"}
        {"login": "bob"}
        {"login": "cy", "roles": ["viewer"]}
        {"login": "dan"}"#;
    let walked = run(&Import::new(&gate), file);
    assert_eq!(counts(&walked), [4, 2, 0, 2]);
    let found: Vec<_> =
        walked.1.iter().map(|problem| (problem.line, problem.field.as_str(), problem.kind)).collect();
    assert_eq!(found, [(3, "login", ErrorKind::AlreadyExists), (4, "roles", ErrorKind::NotFound)]);
    log_in(&gate, "ada", PASSWORD).unwrap();
    assert!(gate.users().find("cy").unwrap().is_none() && gate.users().find("dan").unwrap().is_some());
    sound(&gate);
}

#[test]
fn protected_and_separated_roles_are_given_by_their_rules() {
    let world = world();
    let gate = &world.gate;
    let boss = world.user("boss").id;
    let [a, b, senior, owner] =
        ["a", "b", "senior", "owner"].map(|name| gate.roles().create(name, []).unwrap());
    gate.roles().inherit(senior, a).unwrap();
    gate.roles().update(owner, portcullis::RoleChange::new().protected(true).privileged(true)).unwrap();
    gate.separation().create(SeparationKind::Static, "apart", [a, b], 2).unwrap();
    gate.separation().create(SeparationKind::Dynamic, "not at once", [b, owner], 2).unwrap();
    let file = r#"
        {"login": "one", "roles": ["senior", "b"]}
        {"login": "two", "roles": ["senior", "owner"]}
        {"login": "three", "roles": ["b", "owner"]}"#;
    let gate = &gate.acting_as(boss);
    let before = gate.audit().head().length;
    let dry = dry_run(&Import::new(gate), file);
    assert_eq!(gate.audit().head().length, before);
    let real = run(&Import::new(gate), file);
    assert_eq!((counts(&dry), counts(&real)), ([3, 2, 0, 1], [3, 2, 0, 1]));
    assert_eq!(dry.1, real.1);
    assert_eq!(real.1[0].kind, ErrorKind::SeparationOfDuty);
    let records = all(|page| gate.audit().list(page));
    let count = |kind| records.iter().filter(|record| record.kind == kind).count();
    assert_eq!((count(AuditKind::SeparationViolated), count(AuditKind::PrivilegedRoleAssigned)), (1, 2));
    // The last holder is one of the imported.
    let two = gate.users().find("two").unwrap().unwrap().id;
    let three = gate.users().find("three").unwrap().unwrap().id;
    gate.roles().unassign(three, owner).unwrap();
    refused(gate.roles().unassign(two, owner), ErrorKind::LastHolder, Some("role"));
    sound(gate);
}

#[test]
fn a_tenants_role_stays_in_its_tenant() {
    let world = world();
    let gate = &world.gate;
    let [acme, _other] = ["acme", "other"].map(|path| gate.scopes().ensure(path).unwrap());
    gate.roles().create_in(acme, "clerk", []).unwrap();
    let file = r#"
        {"login": "a", "roles": [{"role": "clerk", "scope": "other"}]}
        {"login": "b", "roles": ["clerk"]}
        {"login": "c", "roles": [{"role": "clerk", "scope": "acme"}]}"#;
    let walked = run(&Import::new(gate), file);
    assert_eq!(counts(&walked), [3, 1, 0, 2]);
    assert!(
        walked.1.iter().all(|problem| problem.kind == ErrorKind::NotFound && problem.field == "roles[1]")
    );
}

#[test]
fn a_line_with_all_that_it_may_have_fits_one_commit() {
    let world = world();
    let gate = &world.gate;
    gate.scopes().ensure("acme/p").unwrap();
    let roles: Vec<String> = (0..8).map(|number| format!("role{number}")).collect();
    let ids: Vec<RoleId> = roles.iter().map(|name| gate.roles().create(name, []).unwrap()).collect();
    for pair in ids.windows(2) {
        gate.roles().inherit(pair[0], pair[1]).unwrap();
        gate.roles().update(pair[0], portcullis::RoleChange::new().protected(true)).unwrap();
    }
    gate.separation()
        .create(SeparationKind::Static, "x", [ids[0], gate.roles().create("y", []).unwrap()], 2)
        .unwrap();
    let line = |count: usize, emails: usize| {
        let roles: Vec<String> = roles
            .iter()
            .cycle()
            .enumerate()
            .take(count)
            .map(|(place, name)| match place {
                0..8 => format!("{{\"role\":\"{name}\",\"scope\":\"acme/p\"}}"),
                _ => format!("\"{name}\""),
            })
            .collect();
        let emails: Vec<String> = (0..emails).map(|number| format!("\"e{number}@x.org\"")).collect();
        format!(
            "{{\"login\":\"all\",\"password\":\"{PASSWORD}\",\"profile\":{{\"a\":1}},\"preferences\":{{\"b\":2}},\
             \"home\":\"acme\",\"emails\":[{}],\"roles\":[{}]}}",
            emails.join(","),
            roles.join(",")
        )
    };
    let over = dry_run(&Import::new(gate), &[line(9, 16), line(1, 17)].join("\n"));
    let kinds: Vec<_> = over.1.iter().map(|problem| (problem.line, problem.kind)).collect();
    assert!(kinds.contains(&(1, ErrorKind::LimitExceeded)) && kinds.contains(&(2, ErrorKind::LimitExceeded)));
    let walked = run(&Import::new(gate), &line(8, 16));
    assert_eq!(told(&walked), [""; 0]);
    assert_eq!(roles_of(gate, "all").len(), 8);
    sound(gate);
}

#[test]
fn a_file_of_one_endless_line_takes_no_memory() {
    let world = world();
    let endless = std::io::repeat(b'x').take(200 << 20);
    let mut problems = Vec::new();
    let summary = Import::new(&world.gate)
        .dry_run(std::io::BufReader::new(endless), |problem| problems.push(problem.clone()))
        .unwrap();
    assert_eq!((summary.refused, problems.len(), problems[0].kind), (1, 1, ErrorKind::LimitExceeded));
}

#[test]
fn what_can_not_be_read_ends_the_import() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let line = b"{\"login\":\"ada\"}\n";
            self.0 += 1;
            match self.0 {
                1 => {
                    buffer[..line.len()].copy_from_slice(line);
                    Ok(line.len())
                }
                2 => Err(std::io::ErrorKind::Interrupted.into()),
                _ => Err(std::io::Error::other("the disk is gone")),
            }
        }
    }
    let world = world();
    let error = Import::new(&world.gate).run(std::io::BufReader::new(Broken(0)), |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    sound(&world.gate);
}

#[test]
fn a_delegated_handle_imports_nobody() {
    let world = world();
    let ada = world.user("ada").id;
    let gate = world.gate.delegated(ada);
    for walked in
        [dry_run(&Import::new(&gate), "{\"login\":\"x\"}"), run(&Import::new(&gate), "{\"login\":\"x\"}")]
    {
        assert_eq!(walked.0.unwrap_err().denial(), Some(Denial::Delegation));
    }
    assert!(world.gate.users().find("x").unwrap().is_none());
}

#[test]
fn a_secret_in_the_wrong_place_is_not_printed() {
    let world = world();
    let import = Import::new(&world.gate);
    assert!(format!("{import:?}").len() < 1000);
    for line in [
        r#"{"login":"a","password":["hunter2hunter2"]}"#,
        r#"{"login":"a","password_hash":{"hunter2hunter2":"hunter2hunter2"}}"#,
        r#"{"login":"a","password_hash":"hunter2hunter2"}"#,
        r#"{"login":"a","password_hash":"$hunter2$hunter2hunter2"}"#,
        r#"{"login":"a","password":"hunter2hunter2","password":"hunter2hunter2"}"#,
        r#"{"login":"a","password":"hunter2hunter2"#,
        r#"{"login":"a","password":"hunter2hunter2" "x"}"#,
        r#"{"login":"a","password":"hunter2"}"#,
        r#""hunter2hunter2""#,
    ] {
        let walked = dry_run(&import, line);
        assert!(!walked.1.is_empty(), "{line}");
        assert!(!format!("{walked:?}").contains("hunter2"), "{walked:?}");
    }
}

#[test]
fn twins_by_address_and_by_look_are_found_within_the_file() {
    let file = concat!(
        r#"{"login":"ada","emails":[{"address":"a@x.org","verified":true}]}"#,
        "\n",
        r#"{"login":"bob","emails":[{"address":"A@X.org","verified":true}]}"#,
        "\n",
        r#"{"login":"\u0430da"}"#,
        "\n",
        r#"{"login":"a@x.org"}"#,
        "\n",
        r#"{"login":"eve","emails":[{"address":"a@x.org"}]}"#,
        "\n",
    );
    let told = |run: bool, policy: ConfusableNames| {
        let world = world_with(|builder| builder.confusable_names(policy));
        let mut lines = Vec::new();
        let import = Import::new(&world.gate);
        let tell = |problem: &Problem| lines.push((problem.line, problem.field.clone()));
        let sum = match run {
            true => import.run(file.as_bytes(), tell),
            false => import.dry_run(file.as_bytes(), tell),
        };
        sound(&world.gate);
        (sum.unwrap().accepted, lines)
    };
    let own =
        |lines: &[(u64, &str)]| lines.iter().map(|(line, field)| (*line, (*field).to_owned())).collect();
    let refused: Vec<(u64, String)> = own(&[(2, "emails"), (3, "login"), (4, "login")]);
    assert_eq!(told(false, ConfusableNames::Refuse), (2, refused.clone()));
    assert_eq!(told(true, ConfusableNames::Refuse), (2, refused));
    let warned: Vec<(u64, String)> = own(&[(2, "emails"), (4, "login")]);
    assert_eq!(told(false, ConfusableNames::Warn), (3, warned.clone()));
    assert_eq!(told(true, ConfusableNames::Warn), (3, warned));
}
