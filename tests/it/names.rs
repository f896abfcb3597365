//! Login names: one canonical form, and what looks alike.

use crate::login::Hook;
use crate::support::{Disk, PASSWORD, World, all, backwards, everything, log_in, refused, sound, world};
use portcullis::{
    AuditKind, Builder, ConfusableNames, Error, ErrorKind, NewContact, NewUser, Portcullis, Subject, User,
    UserChange,
};
use std::sync::Barrier;

/// A Latin name and three that look like it: with a Cyrillic а, with a Greek ο for an o, with a Cyrillic В for a B.
const TWINS: [(&str, &str); 4] =
    [("ada", "аda"), ("Bob", "Вob"), ("otto", "οtto"), ("admin1", "admin\u{4CF}")];

fn with(policy: ConfusableNames) -> Portcullis {
    Portcullis::builder().danger_fast_password_hashes().confusable_names(policy).in_memory().unwrap()
}

fn create(gate: &Portcullis, login: &str) -> Result<User, Error> {
    gate.users().create(NewUser::new(login))
}

#[track_caller]
fn twin(result: Result<User, Error>) {
    let error = refused(result, ErrorKind::AlreadyExists, Some("login"));
    assert!(error.is_conflict() && !error.to_string().contains(char::is_control), "{error}");
}

#[test]
fn one_name_has_many_spellings_and_keeps_the_one_it_was_given() {
    let world = world();
    for (login, spellings) in [
        ("Ada", ["ada", "ADA", "ａｄａ", "Ａda"]),
        ("Σίσυφος", ["σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ", "ΣΙ\u{301}ΣΥΦΟΣ"]),
        ("Åsa", ["A\u{30A}sa", "\u{212B}sa", "åSA", "a\u{30A}sa"]),
        ("ガ", ["ｶﾞ", "カ\u{3099}", "ガ", "ガ"]),
    ] {
        let user = world.user(login);
        assert_eq!(user.login, login);
        for spelling in spellings {
            assert_eq!(world.gate.users().find(spelling).unwrap().unwrap().id, user.id, "{spelling}");
            assert_eq!(log_in(&world.gate, spelling, PASSWORD).unwrap().user(), user.id);
            twin(create(&world.gate, spelling));
        }
    }
    sound(&world.gate);
}

#[test]
fn names_that_look_alike_are_refused_whichever_comes_first() {
    for (latin, other) in TWINS {
        for (first, second) in [(latin, other), (other, latin)] {
            let world = world();
            let holder = world.user(first);
            let before = everything(&world.gate);
            let hashes = world.gate.password_hashes_computed();
            twin(world.gate.users().create(NewUser::new(second).password(PASSWORD)));
            assert_eq!(world.gate.password_hashes_computed(), hashes, "refused before it is hashed");
            assert_eq!(everything(&world.gate), before);
            // A rename is no way round, and the name is free once nobody has it.
            let eve = world.user("eve");
            twin(world.gate.users().update(eve.id, UserChange::new().login(second)));
            world.gate.users().update(holder.id, UserChange::new().login("somebody")).unwrap();
            world.gate.users().update(eve.id, UserChange::new().login(second)).unwrap();
            twin(create(&world.gate, first));
            world.gate.users().delete(eve.id).unwrap();
            create(&world.gate, first).unwrap();
            sound(&world.gate);
        }
    }
}

#[test]
fn other_scripts_that_look_alike_are_refused_too_and_what_differs_is_not() {
    let world = world();
    // All Greek, and all Cyrillic.
    create(&world.gate, "ΟΡΑ").unwrap();
    twin(create(&world.gate, "ОРА"));
    for login in
        ["bam", "barn", "user1", "userl", "O0", "00", "Ian", "lan", "жук", "хук", "Καλή", "עדה", "아다"]
    {
        create(&world.gate, login).unwrap();
    }
    // It looks like both Ian and lan.
    twin(create(&world.gate, "\u{4C0}an"));
    sound(&world.gate);
}

#[test]
fn a_users_own_names_are_no_twins_of_each_other() {
    let world = world();
    let ada = world.user("ada");
    let users = world.gate.users();
    for login in ["аda", "ада", "аdа", "ADA", "аda", "ada"] {
        users.update(ada.id, UserChange::new().login(login)).unwrap();
        sound(&world.gate);
    }
    users.update(ada.id, UserChange::new().login("аda")).unwrap();
    twin(create(&world.gate, "ada"));
}

#[test]
fn a_batch_is_checked_against_itself() {
    for (latin, other) in TWINS {
        for pair in [[latin, other], [other, latin]] {
            let world = world();
            let before = everything(&world.gate);
            let new = ["x", pair[0], "y", pair[1], "z"].map(NewUser::new);
            let made = world.gate.users().create_many(new);
            refused(made, ErrorKind::AlreadyExists, Some("login"));
            assert_eq!(everything(&world.gate), before);
            let warned = with(ConfusableNames::Warn);
            warned.users().create_many(pair.map(NewUser::new)).unwrap();
            let records = all(|page| warned.audit().by_kind(AuditKind::NameConfusable, page));
            assert_eq!(records.len(), 1);
            sound(&warned);
        }
    }
}

#[test]
fn a_warning_names_both_users_in_the_commit_of_the_name() {
    let gate = with(ConfusableNames::Warn);
    let ada = create(&gate, "ada").unwrap();
    let twin = create(&gate, "аdа").unwrap();
    let [made, warning] = &backwards(|page| gate.audit().list(page))[..2] else { panic!() };
    assert_eq!((made.kind, warning.kind), (AuditKind::UserCreated, AuditKind::NameConfusable));
    assert_eq!(made.operation, warning.operation);
    assert_eq!(
        (warning.subject, warning.object),
        (Some(Subject::User(twin.id)), Some(Subject::User(ada.id)))
    );
    let eve = create(&gate, "eve").unwrap();
    gate.users().update(eve.id, UserChange::new().login("adа")).unwrap();
    gate.users().update(eve.id, UserChange::new().login("еvе")).unwrap();
    assert_eq!(all(|page| gate.audit().by_kind(AuditKind::NameConfusable, page)).len(), 2);
    sound(&gate);
    // Many of the largest: each fits into a commit with its warning.
    let large = |number: usize| {
        (0..16).fold(NewUser::new(format!("аda\u{4CF}{number}")), |new, n| {
            new.email(format!("{number}.{n}@x.org"))
        })
    };
    for number in 0..8 {
        create(&gate, &format!("adal{number}")).unwrap();
    }
    gate.users().create_many((0..8).map(large)).unwrap();
    sound(&gate);
}

#[test]
fn a_stricter_policy_keeps_the_names_there_are_and_looks_at_all_of_them() {
    let disk = Disk::new();
    let open = |policy| disk.open_with(|builder: Builder| builder.confusable_names(policy)).unwrap();
    let gate = open(ConfusableNames::Off);
    let names = ["ada", "аda", "adа", "Вob", "Воb"];
    let made: Vec<_> = names.iter().map(|login| create(&gate, login).unwrap()).collect();
    assert!(all(|page| gate.audit().by_kind(AuditKind::NameConfusable, page)).is_empty());
    sound(&gate);
    gate.close().unwrap();
    let gate = open(ConfusableNames::Refuse);
    sound(&gate);
    for (login, user) in names.iter().zip(&made) {
        assert_eq!(gate.users().find(login).unwrap().as_ref(), Some(user));
    }
    for login in ["аdа", "bob", "bоb"] {
        twin(create(&gate, login));
    }
    // Whoever of them goes, the others still count.
    gate.users().delete(made[0].id).unwrap();
    gate.users().delete(made[1].id).unwrap();
    twin(create(&gate, "ada"));
    gate.users().delete(made[2].id).unwrap();
    gate.users().delete(made[4].id).unwrap();
    create(&gate, "ada").unwrap();
    twin(create(&gate, "bob"));
    sound(&gate);
    gate.close().unwrap();
    sound(&open(ConfusableNames::Warn));
}

/// 64 threads, each of which wants a name that is one with, or looks like, that of the others.
fn only_one_of_64(gate: &Portcullis, rounds: usize, login: impl Fn(usize, usize) -> NewUser + Sync) {
    for round in 0..rounds {
        let before = all(|page| gate.users().list(page)).len();
        let barrier = Barrier::new(64);
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|thread| {
                    let (login, barrier) = (&login, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        gate.users().create(login(round, thread))
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|result| result.is_ok()).count(), 1, "round {round}");
        for error in made.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        }
        assert_eq!(all(|page| gate.users().list(page)).len(), before + 1);
    }
    sound(gate);
}

pub(crate) fn on_both_backends(test: impl Fn(&Portcullis, usize)) {
    test(&world().gate, 12);
    let disk = Disk::new();
    test(&disk.open(), 3);
    sound(&disk.open());
}

#[test]
fn of_64_case_twins_exactly_one_is_made() {
    on_both_backends(|gate, rounds| {
        only_one_of_64(gate, rounds, |round, thread| {
            NewUser::new(format!("{}{round}", ["Åda", "åDA", "a\u{30A}da", "Ａ\u{30A}da"][thread % 4]))
        });
    });
}

#[test]
fn of_64_names_that_look_alike_exactly_one_is_made() {
    on_both_backends(|gate, rounds| {
        only_one_of_64(gate, rounds, |round, thread| {
            NewUser::new(format!("{}{round}", ["ada", "аda", "adа", "аdа", "αda", "ΑDA"][thread % 6]))
        });
    });
}

#[test]
fn of_64_names_that_are_one_address_exactly_one_is_made() {
    on_both_backends(|gate, rounds| {
        only_one_of_64(gate, rounds, |round, thread| {
            let domain = ["münchen.de", "xn--mnchen-3ya.de", "MÜNCHEN.de", "mu\u{308}nchen.de"][thread % 4];
            NewUser::new(format!("ada{round}@{domain}"))
        });
    });
}

/// The last moment before a plan: 16 random bytes are drawn for it.
#[test]
fn a_name_that_is_taken_while_its_twin_is_planned_is_seen() {
    for (first, second) in TWINS.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
        for rename in [false, true] {
            let hook = Hook::new();
            let builder = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes();
            let gate = builder.in_memory().unwrap();
            let eve = create(&gate, "eve").unwrap();
            let inner = gate.clone();
            hook.at_draw_of(16, move || drop(create(&inner, first).unwrap()));
            twin(if rename {
                gate.users().update(eve.id, UserChange::new().login(second))
            } else {
                create(&gate, second)
            });
            sound(&gate);
        }
    }
}

/// Everything that a new user can have, under a name with all the looks and addresses that a name can have.
#[test]
fn the_largest_user_fits_into_one_commit() {
    for policy in [ConfusableNames::Off, ConfusableNames::Warn, ConfusableNames::Refuse] {
        let gate = with(policy);
        if policy == ConfusableNames::Warn {
            create(&gate, "bob1@münchen.de").unwrap();
        }
        let new = NewUser::new("Вob\u{4CF}@МÜNCHΣΝ.de").password(PASSWORD).profile("a", 1).preference("b", 2);
        let large =
            (0..16).fold(new, |new, n| new.contact(NewContact::email(format!("{n}@x.org")).verified()));
        gate.users().create(large).unwrap();
        sound(&gate);
    }
}

/// Against a model that compares every name with every other.
#[test]
fn random_names_and_renames_agree_with_a_naive_model() {
    let letters = ["a", "а", "α", "o", "о", "ο", "0", "l", "\u{4CF}", "1", "i", "m", "rn", "B", "В", "ж"];
    let same = ["a", "a", "a", "o", "o", "o", "0", "l", "?", "1", "i", "m", "rn", "b", "b", "ж"];
    let World { gate, .. } = world();
    let mut held: Vec<(portcullis::UserId, Vec<usize>)> = Vec::new();
    let look = |word: &[usize], upright: &str| -> String {
        word.iter().map(|at| if same[*at] == "?" { upright } else { same[*at] }).collect()
    };
    let plain = |word: &[usize]| word.iter().all(|at| letters[*at].is_ascii());
    // Two plain names are told apart as they are; any other pair by what it looks like in some reading.
    let alike = |a: &[usize], b: &[usize]| {
        let readings = |word| ["l", "i", "1"].map(|upright| look(word, upright));
        if plain(a) && plain(b) {
            look(a, "") == look(b, "")
        } else {
            readings(a).iter().any(|look| readings(b).contains(look))
        }
    };
    let mut seed = 7_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..1500 {
        let word: Vec<usize> = (0..=next(2)).map(|_| next(letters.len())).collect();
        let login: String = word.iter().map(|at| letters[*at]).collect();
        let renamed = (!held.is_empty() && next(3) == 0).then(|| next(held.len()));
        let clash =
            held.iter().enumerate().any(|(at, (_, other))| Some(at) != renamed && alike(&word, other));
        let made = match renamed {
            Some(at) => gate.users().update(held[at].0, UserChange::new().login(login.as_str())),
            None => create(&gate, &login),
        };
        assert_eq!(made.is_ok(), !clash, "{login} among {:?}", held.len());
        match (made, renamed) {
            (Ok(_), Some(at)) => held[at].1 = word,
            (Ok(user), None) => held.push((user.id, word)),
            (Err(error), _) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                refused += 1;
                continue;
            }
        }
        taken += 1;
        if held.len() > 12 {
            let (id, _) = held.swap_remove(next(held.len()));
            gate.users().delete(id).unwrap();
        }
    }
    assert!(taken > 200 && refused > 200, "{taken} {refused}");
    sound(&gate);
}
