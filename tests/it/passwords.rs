//! Which passwords are taken on every path that sets one, and what else is asked before.

use crate::support::{
    OTHER, PASSWORD, World, all, everything, log_in, patient, refused, user, world, world_with,
};
use portcullis::testing::dump;
use portcullis::{
    AuditKind, BreachCheck, BreachError, BreachQuery, Client, Credentials, Denial, ErrorKind, NewUser,
    Outcome, PasswordPolicy, PasswordProblem, Portcullis, Result, Subject, UserId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Every path that sets a password, for a user `ada` with [`PASSWORD`].
type Path = fn(&Portcullis, UserId, &str) -> Result<()>;
const PATHS: [(&str, Path); 4] = [
    ("create", |gate, _, password| {
        gate.users().create(NewUser::new("eve").email("eve.smith@example.org").password(password)).map(drop)
    }),
    ("create_many", |gate, _, password| {
        let good = NewUser::new("bob").password(OTHER);
        let new = NewUser::new("eve").email("eve.smith@example.org").password(password);
        gate.users().create_many([good, new]).map(drop)
    }),
    ("set", |gate, ada, password| gate.users().set_password(ada, password)),
    ("change", |gate, ada, password| gate.users().change_password(ada, PASSWORD, password)),
];

fn with_ada(world: &World) -> UserId {
    let ada = NewUser::new("ada").email("ada.lovelace@example.org").password(PASSWORD);
    world.gate.users().create(ada).unwrap().id
}

fn policy(policy: PasswordPolicy) -> World {
    world_with(|builder| builder.password_policy(policy))
}

/// The reason for which each path refuses the password; nothing is changed, and nothing hashed but what `change` verifies.
#[track_caller]
fn refused_everywhere(make: impl Fn() -> World, password: &str, problem: PasswordProblem) {
    for (name, set) in PATHS {
        let world = make();
        let ada = with_ada(&world);
        let (before, hashes) = (everything(&world.gate), world.gate.password_hashes_computed());
        let error = refused(set(&world.gate, ada, password), ErrorKind::InvalidInput, Some("password"));
        assert_eq!(error.password_problem(), Some(problem), "{name}: {error}");
        let told = error.to_string();
        assert!(password.is_empty() || !told.trim_start_matches("password: ").contains(password), "{told}");
        assert_eq!(world.gate.password_hashes_computed(), hashes, "{name}");
        assert_eq!(everything(&world.gate), before, "{name}");
        assert!(opens(&world.gate, "ada", PASSWORD));
    }
}

/// Whether the password is the right one: it opens a session, or only a second factor is missing.
fn opens(gate: &Portcullis, login: &str, password: &str) -> bool {
    match log_in(gate, login, password) {
        Ok(_) => true,
        Err(error) => {
            let denial = error.denial().expect("an answer, and no failure");
            assert!(matches!(denial, Denial::FactorRequired | Denial::Credentials), "{denial:?}");
            denial == Denial::FactorRequired
        }
    }
}

#[track_caller]
fn taken_everywhere(make: impl Fn() -> World, password: &str) {
    for (name, set) in PATHS {
        let world = make();
        let ada = with_ada(&world);
        set(&world.gate, ada, password).unwrap_or_else(|error| panic!("{name}: {error}"));
        let login = if name.starts_with("create") { "eve" } else { "ada" };
        assert!(opens(&world.gate, login, password));
        if !password.is_empty() {
            let cut: String = password.chars().take(password.chars().count() - 1).collect();
            assert!(!opens(&world.gate, login, &cut));
        }
    }
}

#[test]
fn length_is_counted_in_code_points_of_form_c() {
    taken_everywhere(world, &"\u{1f511}".repeat(15));
    refused_everywhere(world, &"\u{1f511}".repeat(14), PasswordProblem::TooShort);
    // Sixteen code points as they are typed, eight in form C.
    refused_everywhere(world, &"o\u{308}".repeat(8), PasswordProblem::TooShort);
    taken_everywhere(world, &"o\u{308}\u{323} ".repeat(8));
    refused_everywhere(world, "", PasswordProblem::TooShort);
    for length in [64, 65, 128, 1024] {
        let password: String = ('a'..='z').cycle().step_by(7).take(length).collect();
        taken_everywhere(world, &password);
    }
    taken_everywhere(world, &"\u{1f511}".repeat(256));
    refused_everywhere(world, &"x".repeat(1025), PasswordProblem::TooLong);
    refused_everywhere(world, &"\u{1f511}".repeat(257), PasswordProblem::TooLong);
}

#[test]
fn any_characters_are_taken_and_none_are_asked_for() {
    let printable: String = (' '..='~').collect();
    assert_eq!(printable.len(), 95);
    let kinds = [
        "lowerlettersonlyx",
        "UPPERLETTERSONLYX",
        "739402817465920",
        "               ",
        "?!.,;:-_#*~/()&",
        "密碼不應該太短否則容易被猜到了",
        "\u{0}\u{1}\u{7}\n\r\t\u{7f}\u{85}\u{200b}\u{202e}\u{feff}\u{fffd}\u{10ffff}ab",
        " leading and trailing ",
    ];
    for password in kinds.into_iter().chain([printable.as_str()]) {
        taken_everywhere(world, password);
    }
}

#[test]
fn nothing_of_a_password_is_mapped_when_it_is_verified() {
    let world = world_with(patient);
    let password = "Correct Horse Batteries \u{c5}";
    world.gate.users().create(NewUser::new("ada").password(password)).unwrap();
    log_in(&world.gate, "ada", "Correct Horse Batteries A\u{30a}").unwrap();
    for other in [
        "correct horse batteries \u{c5}",
        "Correct Horse Batteries \u{c5} ",
        " Correct Horse Batteries \u{c5}",
        "Correct\u{a0}Horse Batteries \u{c5}",
        "Correct Horse Batteries A",
        "Correct Horse Batteries \u{e5}",
    ] {
        assert!(log_in(&world.gate, "ada", other).is_err_and(|error| error.is_denied()), "{other}");
    }
}

#[test]
fn common_passwords_are_refused_on_every_path() {
    for common in ["1qaz2wsx3edc4rfv", "passwordpassword", "PassWordPassWord", "qwerty123456789"] {
        refused_everywhere(world, common, PasswordProblem::Common);
    }
    let short = || policy(PasswordPolicy::only_with_second_factor());
    for common in ["password", "12345678", "Trustno1", "1qaz2wsx3edc4rfv"] {
        refused_everywhere(short, common, PasswordProblem::Common);
    }
    taken_everywhere(short, "xq7 ptoa");
    refused_everywhere(short, "xq7 pto", PasswordProblem::TooShort);
}

#[test]
fn words_that_are_near_at_hand_are_refused_whole_and_taken_as_a_part() {
    let service = || policy(PasswordPolicy::new().words(["Engine Room"]).unwrap());
    for password in ["engineroom12345", "3ng1n3-r00m-2026", "moorenigne999999", "Engine Room Engine Room"] {
        refused_everywhere(service, password, PasswordProblem::ContextWord);
        taken_everywhere(world, password);
    }
    taken_everywhere(service, "the engine room is hot");
    // The user's own: of a new one, and of one that exists.
    for (set, words) in [
        (PATHS[0].1, ["eve123456789012", "evesmith-example", "HTIMS.3V3.1234567", "exampleexample1"]),
        (PATHS[2].1, ["ada123456789012", "adalovelace2026", "ECALEVOL.4D4.1234", "lovelacelovelace"]),
        (PATHS[3].1, ["ada123456789012", "adalovelace2026", "ECALEVOL.4D4.1234", "lovelacelovelace"]),
    ] {
        for password in words {
            let world = world();
            let ada = with_ada(&world);
            let error = set(&world.gate, ada, password).unwrap_err();
            assert_eq!(error.password_problem(), Some(PasswordProblem::ContextWord), "{password}");
        }
    }
}

#[test]
fn settings_that_fit_no_policy_are_refused() {
    let field = |result: Result<PasswordPolicy>| result.unwrap_err().field();
    for (policy, wrong, right) in [
        (PasswordPolicy::new(), [0, 8, 14, 65], [15, 64]),
        (PasswordPolicy::only_with_second_factor(), [0, 6, 7, 65], [8, 64]),
    ] {
        for minimum in wrong {
            assert_eq!(field(policy.clone().minimum(minimum)), Some("password_policy.minimum"));
        }
        for minimum in right {
            assert_eq!(policy.clone().minimum(minimum).unwrap().shortest(), minimum);
        }
    }
    assert!(PasswordPolicy::only_with_second_factor().needs_second_factor());
    assert!(!PasswordPolicy::default().needs_second_factor());
    assert_eq!(field(PasswordPolicy::new().history(25)), Some("password_policy.history"));
    let second = std::time::Duration::from_secs(1);
    assert_eq!(field(PasswordPolicy::new().maximum_age(second)), Some("password_policy.maximum_age"));
    for life in [second, second * 8 * 24 * 3600] {
        assert_eq!(field(PasswordPolicy::new().issued_for(life)), Some("password_policy.issued_for"));
    }
    assert_eq!(field(PasswordPolicy::new().words(["x".repeat(1025)])), Some("password_policy.words"));
    let many = ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("word{a}{b}")));
    assert_eq!(field(PasswordPolicy::new().words(many)), Some("password_policy.words"));
    assert_eq!(field(PasswordPolicy::new().minimum_strength(5)), Some("password_policy.minimum_strength"));
}

#[test]
fn an_estimate_of_the_strength_can_be_asked_for() {
    let strong = || policy(PasswordPolicy::new().minimum_strength(4).unwrap());
    refused_everywhere(strong, "abababababababababababa", PasswordProblem::TooWeak);
    taken_everywhere(strong, OTHER);
    taken_everywhere(world, "abababababababababababa");
}

#[derive(Clone, Debug, Default)]
struct Counting {
    asked: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

const BREACHED: &str = "this one was made public";

impl BreachCheck for Counting {
    fn times_seen(&self, password: &BreachQuery<'_>) -> Result<u64, BreachError> {
        self.asked.fetch_add(1, SeqCst);
        assert!(!format!("{password:?}").contains(password.password()));
        match self.broken.load(SeqCst) {
            true => Err("the corpus is on holiday".into()),
            false => Ok(if password.password() == BREACHED { 3 } else { 0 }),
        }
    }
}

#[test]
fn breaches_are_asked_about_once_for_each_password_that_is_set() {
    for (name, set) in PATHS {
        let counting = Counting::default();
        let world = world_with(|builder| builder.breach_check(counting.clone()));
        let ada = with_ada(&world);
        let asked = || counting.asked.swap(0, SeqCst);
        assert_eq!(asked(), 1);
        // Not for what is refused without it.
        for bad in ["short", "passwordpassword"] {
            set(&world.gate, ada, bad).unwrap_err();
        }
        assert_eq!(asked(), 0, "{name}");
        let hashes = world.gate.password_hashes_computed();
        let error = refused(set(&world.gate, ada, BREACHED), ErrorKind::InvalidInput, Some("password"));
        assert_eq!(error.password_problem(), Some(PasswordProblem::Breached), "{name}");
        let passwords = if name == "create_many" { 2 } else { 1 };
        assert_eq!(asked(), passwords, "{name}");
        let verified = if name == "create" || name == "set" { 0 } else { 1 };
        assert_eq!(world.gate.password_hashes_computed() - hashes, verified, "{name}");
        set(&world.gate, ada, OTHER).unwrap();
        assert_eq!(asked(), passwords, "{name}");
        // A login sets none.
        log_in(&world.gate, if name.starts_with("create") { "eve" } else { "ada" }, OTHER).unwrap();
        assert_eq!(asked(), 0, "{name}");
    }
}

#[test]
fn a_breach_check_that_fails_is_closed_or_open_and_written_down() {
    let found = |world: &World| all(|page| world.gate.audit().by_kind(AuditKind::BreachCheckFailed, page));
    for (name, set) in PATHS {
        let counting = Counting::default();
        let closed = world_with(|builder| builder.breach_check(counting.clone()));
        let ada = with_ada(&closed);
        counting.broken.store(true, SeqCst);
        let rows = dump(&closed.gate).unwrap().len();
        let error = refused(set(&closed.gate, ada, OTHER), ErrorKind::InvalidInput, Some("password"));
        assert_eq!(error.password_problem(), Some(PasswordProblem::NotChecked), "{name}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("on holiday"));
        let records = found(&closed);
        assert_eq!((records.len(), records[0].outcome), (1, Outcome::Denied), "{name}");
        assert!(records[0].detail.contains("on holiday"));
        assert!(dump(&closed.gate).unwrap().len() > rows, "the record, and nothing else");
        assert_eq!(closed.gate.users().find("eve").unwrap(), None);
        log_in(&closed.gate, "ada", PASSWORD).unwrap();

        let broken = Counting::default();
        let open =
            world_with(|builder| builder.breach_check(broken.clone()).danger_accept_unchecked_passwords());
        let ada = with_ada(&open);
        broken.broken.store(true, SeqCst);
        set(&open.gate, ada, OTHER).unwrap();
        let login = if name.starts_with("create") { "eve" } else { "ada" };
        let login = log_in(&open.gate, login, OTHER).unwrap();
        let records = found(&open);
        let last = records.last().unwrap();
        assert_eq!((last.outcome, last.subject), (Outcome::Success, Some(Subject::User(login.user()))));
        assert!(records.iter().all(|record| record.detail.contains("on holiday")), "{name}");
    }
}

#[test]
fn many_users_with_unchecked_passwords_fit_into_their_commits() {
    let counting = Counting::default();
    counting.broken.store(true, SeqCst);
    let world =
        world_with(|builder| builder.breach_check(counting.clone()).danger_accept_unchecked_passwords());
    let new = (0..100).map(|n| NewUser::new(format!("u{n}")).email("a@x.org").password(OTHER));
    assert_eq!(world.gate.users().create_many(new).unwrap().len(), 100);
    assert_eq!(counting.asked.load(SeqCst), 100);
    assert_eq!(all(|page| world.gate.audit().by_kind(AuditKind::BreachCheckFailed, page)).len(), 100);
}

#[test]
fn a_change_needs_the_present_password() {
    let world = world_with(patient);
    let ada = with_ada(&world);
    let session = world.login("ada");
    let users = world.gate.users();
    let credential = || {
        let mut rows = dump(&world.gate).unwrap();
        rows.retain(|row| row.table == "credential");
        rows
    };
    let before = credential();
    for wrong in ["wrong", "", &PASSWORD.to_uppercase(), &format!("{PASSWORD} "), OTHER] {
        let hashes = world.gate.password_hashes_computed();
        let error = users.change_password(ada, wrong, OTHER).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
        assert_eq!(world.gate.password_hashes_computed(), hashes + 1);
    }
    assert_eq!(credential(), before);
    let long = "x".repeat(1025);
    refused(users.change_password(ada, &long, OTHER), ErrorKind::InvalidInput, Some("password"));
    let none = user_without_password(&world);
    assert!(users.change_password(none, PASSWORD, OTHER).unwrap_err().is_denied());
    refused(
        users.change_password(UserId::from_number(99), PASSWORD, OTHER),
        ErrorKind::NotFound,
        Some("user"),
    );
    let records = all(|page| world.gate.audit().by_kind(AuditKind::PasswordChangeRefused, page));
    assert_eq!(records.len(), 6);
    assert!(
        records.iter().all(|record| record.outcome == Outcome::Denied && !record.detail.contains("horse"))
    );
    assert!(crate::support::is_live(&world.gate, session.token().as_str()));

    users.change_password(ada, PASSWORD, OTHER).unwrap();
    assert!(!crate::support::is_live(&world.gate, session.token().as_str()));
    log_in(&world.gate, "ada", PASSWORD).unwrap_err();
    log_in(&world.gate, "ada", OTHER).unwrap();
    world.gate.users().set_status(ada, portcullis::Status::disabled("gone")).unwrap();
    assert!(users.change_password(ada, OTHER, PASSWORD).unwrap_err().is_denied());
}

fn user_without_password(world: &World) -> UserId {
    world.gate.users().create(NewUser::new("none")).unwrap().id
}

#[test]
fn of_two_changes_at_once_exactly_one_wins() {
    for _ in 0..20 {
        let world = world();
        let ada = user(&world.gate, "ada").id;
        let news = ["the first new password", "the second new password"];
        let barrier = std::sync::Barrier::new(2);
        let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = news
                .iter()
                .map(|new| {
                    scope.spawn(|| {
                        barrier.wait();
                        world.gate.users().change_password(ada, PASSWORD, new)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        for (outcome, new) in outcomes.iter().zip(news) {
            let login = world.gate.login(&Credentials::password("ada", new), &Client::new());
            assert_eq!(outcome.is_ok(), login.is_ok());
            if let Err(error) = outcome {
                assert!(error.is_conflict() || error.is_denied(), "{error:?}");
            }
        }
    }
}
