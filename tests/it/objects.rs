//! Operations on an object: what a role gives on it, what a user may do with it, and which there are.

use crate::support::{all, backwards, refused, sound, user, world};
use portcullis::{
    Cursor, ErrorKind, Grant, ObjectOperation, PageRequest, Permission, Portcullis, RoleId, ScopeId, UserId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn told(found: Vec<ObjectOperation>) -> Vec<String> {
    found.into_iter().map(|one| one.operation).collect()
}

fn of_role(gate: &Portcullis, role: RoleId, object: &str) -> Vec<String> {
    told(all(|page| gate.review().role_operations_on(role, object, page)))
}

fn of_user(gate: &Portcullis, user: UserId, object: &str, scope: ScopeId) -> Vec<String> {
    told(all(|page| gate.review().user_operations_on(user, object, scope, page)))
}

fn there_are(gate: &Portcullis, object: &str) -> Vec<String> {
    all(|page| gate.permissions().of_object(object, page)).into_iter().map(|info| info.name).collect()
}

#[test]
fn a_role_gives_what_it_and_its_juniors_give_less_what_they_deny() {
    let gate = world().gate;
    let bits = gate
        .permissions()
        .define_many(["doc:read", "doc:write", "doc:share", "doc:delete", "doc", "docs:read", "doc:old:read"])
        .unwrap();
    let viewer = gate.roles().create("viewer", [bits[0], bits[5], bits[6]]).unwrap();
    let editor = gate.roles().create("editor", [bits[1], bits[2], bits[4]]).unwrap();
    gate.roles().inherit(editor, viewer).unwrap();
    assert_eq!(of_role(&gate, viewer, "doc"), ["read"]);
    assert_eq!(of_role(&gate, editor, "doc"), ["read", "share", "write"]);
    assert_eq!(of_role(&gate, editor, "docs"), ["read"]);
    assert_eq!(of_role(&gate, editor, "doc:old"), ["read"]);
    let found = gate.review().role_operations_on(editor, "doc", &PageRequest::default()).unwrap();
    assert_eq!(found.items.iter().map(|one| one.permission).collect::<Vec<_>>(), [bits[0], bits[2], bits[1]]);
    // A junior that denies takes it from whoever inherits.
    gate.roles().deny(viewer, [bits[2]]).unwrap();
    assert_eq!(of_role(&gate, editor, "doc"), ["read", "write"]);
    gate.roles().disinherit(editor, viewer).unwrap();
    assert_eq!(of_role(&gate, editor, "doc"), ["share", "write"]);
    // No operation on an object that is there is no error: the object has others.
    assert!(of_role(&gate, editor, "docs").is_empty());
    gate.permissions().delete(bits[1]).unwrap();
    assert_eq!(of_role(&gate, editor, "doc"), ["share"]);
    assert_eq!(there_are(&gate, "doc"), ["doc:delete", "doc:read", "doc:share"]);
    assert_eq!(there_are(&gate, "doc:old"), ["doc:old:read"]);
    sound(&gate);
}

#[test]
fn a_user_may_do_what_is_held_at_the_scope_and_above_it_now() {
    let world = world();
    let gate = &world.gate;
    let bits = gate.permissions().define_many(["doc:read", "doc:write", "doc:share", "job:run"]).unwrap();
    let viewer = gate.roles().create("viewer", [bits[0]]).unwrap();
    let editor = gate.roles().create("editor", [bits[1]]).unwrap();
    let (acme, project) =
        (gate.scopes().ensure("acme").unwrap(), gate.scopes().ensure("acme/project").unwrap());
    let ada = user(gate, "ada").id;
    gate.roles().assign(ada, viewer).unwrap();
    gate.roles().assign_with(ada, editor, &Grant::new().at(acme)).unwrap();
    let end = gate.now().saturating_add(std::time::Duration::from_secs(60));
    gate.access().grant(ada, bits[2], &Grant::new().at(project).until(end)).unwrap();
    assert_eq!(of_user(gate, ada, "doc", ScopeId::ROOT), ["read"]);
    assert_eq!(of_user(gate, ada, "doc", acme), ["read", "write"]);
    assert_eq!(of_user(gate, ada, "doc", project), ["read", "share", "write"]);
    assert!(of_user(gate, ada, "job", project).is_empty());
    world.after(60);
    assert_eq!(of_user(gate, ada, "doc", project), ["read", "write"]);
    gate.access().grant(ada, bits[0], &Grant::new().at(acme).denying()).unwrap();
    assert_eq!(of_user(gate, ada, "doc", project), ["write"]);
    assert_eq!(of_user(gate, ada, "doc", ScopeId::ROOT), ["read"]);
    // Each of them is what a check says.
    for scope in [ScopeId::ROOT, acme, project] {
        let may = of_user(gate, ada, "doc", scope);
        for info in all(|page| gate.permissions().of_object("doc", page)) {
            let allowed = gate.check_at(ada, info.permission, scope).unwrap().is_allowed();
            assert_eq!(
                may.contains(&info.name["doc:".len()..].to_owned()),
                allowed,
                "{} at {scope}",
                info.name
            );
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let gate = world().gate;
    let read = gate.permissions().define("doc:read").unwrap();
    gate.permissions().define("doc:part:read").unwrap();
    gate.permissions().define("plain").unwrap();
    let role = gate.roles().create("r", [read]).unwrap();
    let ada = user(&gate, "ada").id;
    let (review, page) = (gate.review(), PageRequest::default());
    let (nobody, nothing, nowhere) =
        (UserId::from_number(9), RoleId::from_number(9), ScopeId::from_number(9));
    refused(review.role_operations_on(nothing, "doc", &page), ErrorKind::NotFound, Some("role"));
    refused(
        review.user_operations_on(nobody, "doc", ScopeId::ROOT, &page),
        ErrorKind::NotFound,
        Some("user"),
    );
    refused(review.user_operations_on(ada, "doc", nowhere, &page), ErrorKind::NotFound, Some("scope"));
    for object in ["do", "doc:", "docs", "plain", "read", "", "doc:read", "part", "Doc"] {
        for error in [
            refused(review.role_operations_on(role, object, &page), ErrorKind::NotFound, Some("object")),
            refused(
                review.user_operations_on(ada, object, ScopeId::ROOT, &page),
                ErrorKind::NotFound,
                Some("object"),
            ),
            refused(gate.permissions().of_object(object, &page), ErrorKind::NotFound, Some("object")),
        ] {
            assert!(error.to_string().contains(&format!("{object:?} does not exist")), "{error}");
        }
    }
    for object in ["a\nb", "a\u{202E}b", &"x".repeat(129)] {
        refused(review.role_operations_on(role, object, &page), ErrorKind::InvalidInput, Some("object"));
        refused(gate.permissions().of_object(object, &page), ErrorKind::InvalidInput, Some("object"));
    }
    // An object goes with its last permission, and those that its name begins do not keep it.
    gate.permissions().delete(read).unwrap();
    refused(review.role_operations_on(role, "doc", &page), ErrorKind::NotFound, Some("object"));
    assert_eq!(there_are(&gate, "doc:part"), ["doc:part:read"]);
}

#[test]
fn pages_are_checked_and_a_listing_that_has_begun_goes_on() {
    let gate = world().gate;
    let bits = gate.permissions().define_many(["a:1", "a:2", "a:3", "b:1", "b:2"]).unwrap();
    let role = gate.roles().create("r", bits.clone()).unwrap();
    let review = gate.review();
    for limit in [0, 1001] {
        let page = PageRequest::first(limit);
        refused(review.role_operations_on(role, "a", &page), ErrorKind::InvalidInput, Some("limit"));
    }
    let first = review.role_operations_on(role, "a", &PageRequest::first(1)).unwrap();
    let next = PageRequest::first(1).after(Cursor::from_text(&first.next.unwrap().to_text()).ok());
    refused(review.role_operations_on(role, "b", &next), ErrorKind::InvalidInput, Some("cursor"));
    refused(gate.permissions().list(&next), ErrorKind::InvalidInput, Some("cursor"));
    let of_permissions = gate.permissions().list(&PageRequest::first(1)).unwrap().next;
    let wrong = PageRequest::first(1).after(of_permissions);
    refused(review.role_operations_on(role, "a", &wrong), ErrorKind::InvalidInput, Some("cursor"));
    assert_eq!(told(review.role_operations_on(role, "a", &next).unwrap().items), ["2"]);
    for permission in &bits[..3] {
        gate.permissions().delete(*permission).unwrap();
    }
    assert!(review.role_operations_on(role, "a", &next).unwrap().items.is_empty());
    refused(
        review.role_operations_on(role, "a", &PageRequest::first(1)),
        ErrorKind::NotFound,
        Some("object"),
    );
}

#[test]
fn an_object_may_have_ten_thousand_operations_and_ten_thousand_objects_beside_it() {
    let gate = world().gate;
    let mut names: Vec<String> = (0..10_000).map(|number| format!("big:{number:05}")).collect();
    names.extend((0..10_000).map(|number| format!("big:{number:05}:inner")));
    let bits = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let role = gate.roles().create("r", []).unwrap();
    gate.roles().grant(role, bits.iter().copied().step_by(2)).unwrap();
    let ada = user(&gate, "ada").id;
    gate.roles().assign(ada, role).unwrap();
    let due: Vec<String> = (0..10_000).step_by(2).map(|number| format!("{number:05}")).collect();
    let in_pages = |limit: usize| {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = PageRequest::first(limit).after(after);
            let page = gate.review().user_operations_on(ada, "big", ScopeId::ROOT, &page).unwrap();
            assert!(page.items.len() <= limit);
            found.extend(told(page.items));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return (found, pages),
            }
        }
    };
    for limit in [1000, 617] {
        let (found, pages) = in_pages(limit);
        assert_eq!(found, due);
        assert!(pages <= 5_000 / limit + 3, "{pages} pages");
    }
    let mut reversed = told(backwards(|page| gate.review().role_operations_on(role, "big", page)));
    reversed.reverse();
    assert_eq!(reversed, due);
    assert_eq!(of_role(&gate, role, "big:00004"), ["inner"]);
    // Where nothing is given, a page ends early and says where to go on.
    let nothing = gate.roles().create("nothing", []).unwrap();
    let page = gate.review().role_operations_on(nothing, "big", &PageRequest::default()).unwrap();
    assert!(page.items.is_empty() && page.next.is_some());
    assert!(of_role(&gate, nothing, "big").is_empty());
    assert_eq!(all(|page| gate.permissions().of_object("big", page)).len(), 10_000);
}

/// Pieces that make every sort of neighbour: prefixes of each other, colons side by side, characters below and above.
const PIECES: [&str; 9] = ["a", "b", "ab", ":", "::", "!", "~", "ä", "z"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn listings_agree_with_splitting_every_name_at_its_last_colon(
        names in proptest::collection::btree_set(proptest::collection::vec(0..9usize, 1..6), 1..40),
        granted in proptest::collection::vec(any::<bool>(), 40),
        limit in 1..5usize,
    ) {
        let gate = world().gate;
        let names: BTreeSet<String> =
            names.into_iter().map(|pieces| pieces.into_iter().map(|n| PIECES[n]).collect()).collect();
        let bits = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
        let role = gate.roles().create("r", []).unwrap();
        let mut due: BTreeMap<&str, BTreeMap<&str, (Permission, bool)>> = BTreeMap::new();
        for ((name, bit), granted) in names.iter().zip(&bits).zip(granted) {
            if granted {
                gate.roles().grant(role, [*bit]).unwrap();
            }
            if let Some((object, operation)) = name.rsplit_once(':') {
                due.entry(object).or_default().insert(operation, (*bit, granted));
            }
        }
        let pages = |request: PageRequest, object: &str| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = request.clone().after(after);
                let page = gate.review().role_operations_on(role, object, &page).unwrap();
                found.extend(page.items.into_iter().map(|one| (one.operation, one.permission)));
                match page.next {
                    Some(next) => after = Some(next),
                    None => return found,
                }
            }
        };
        for (object, operations) in &due {
            let mut given: Vec<(String, Permission)> = operations
                .iter()
                .filter(|(_, (_, granted))| *granted)
                .map(|(operation, (bit, _))| ((*operation).to_owned(), *bit))
                .collect();
            prop_assert_eq!(pages(PageRequest::first(limit), object), given.clone(), "{}", object);
            given.reverse();
            prop_assert_eq!(pages(PageRequest::first(limit).descending(), object), given, "{}", object);
            let there: Vec<String> = operations.keys().map(|operation| format!("{object}:{operation}")).collect();
            prop_assert_eq!(there_are(&gate, object), there);
        }
        for name in &names {
            let there = gate.permissions().of_object(name, &PageRequest::default()).is_ok();
            prop_assert_eq!(there, due.contains_key(name.as_str()), "{}", name);
        }
    }
}
