//! Casbin itself, asked what portcullis and the naive evaluator of the tests are asked: `cargo test` in this folder.

#![cfg(test)]

#[path = "../it/casbin_cases.rs"]
mod casbin_cases;

use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};
use casbin_cases::{ALLOW, ALLOW_AND_NOT_DENY, BASIC, Case, DENY, DOMAINS, KNOWN, model, mutated, random};
use portcullis::Portcullis;
use portcullis::casbin::Policy;
use proptest::prelude::*;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Casbin reads texts without ever waiting, so that one poll is enough and no runtime is needed.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("Casbin waits"),
    }
}

fn enforcer(model: &str, policy: &str) -> Enforcer {
    let model = ready(DefaultModel::from_str(model)).expect("a model of Casbin");
    ready(Enforcer::new(model, StringAdapter::new(policy))).expect("a policy of Casbin")
}

fn ask(enforcer: &Enforcer, request: &[&str]) -> bool {
    match request {
        [sub, obj, act] => enforcer.enforce((*sub, *obj, *act)),
        [sub, dom, obj, act] => enforcer.enforce((*sub, *dom, *obj, *act)),
        other => panic!("{other:?}"),
    }
    .expect("a decision of Casbin")
}

/// Every request gets the same decision from all three. How many there are, and how many are allowed.
fn compare(case: &Case) -> (usize, usize) {
    let casbin = enforcer(&case.model, &case.policy);
    let gate = Portcullis::in_memory().expect("in memory");
    let policy = Policy::parse(&case.model, &case.policy).unwrap_or_else(|error| panic!("{error}\n{case:?}"));
    let loaded = policy.load_into(&gate).expect("a load");
    let requests = case.naive.requests();
    let mut allowed = 0;
    for request in &requests {
        let due = ask(&casbin, request);
        assert_eq!(case.naive.decide(request), due, "naive, {request:?} of\n{}\n{}", case.model, case.policy);
        let found = loaded.enforce(&gate, request).expect("a decision");
        assert_eq!(found, due, "{request:?} of\n{}\n{}", case.model, case.policy);
        allowed += usize::from(due);
    }
    (requests.len(), allowed)
}

#[test]
fn known_policies() {
    for (name, family, policy, allowed) in KNOWN {
        let (_, found) = compare(&family.case(policy));
        assert_eq!(found, allowed.len(), "{name}");
    }
}

fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases: config.cases.max(500), ..config }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn random_policies(case in random()) {
        compare(&case);
    }

    #[test]
    fn a_changed_policy_that_is_taken_is_read_as_casbin_reads_it(
        case in random(),
        edits in prop::collection::vec(any::<(u16, u16, u8)>(), 1..4),
    ) {
        let policy = mutated(&case.policy, &edits);
        if Policy::parse(&case.model, &policy).is_ok() {
            compare(&Case { naive: case.naive.of(&policy), policy, ..case });
        }
    }

    #[test]
    fn a_changed_model_that_is_taken_is_read_as_casbin_reads_it(
        case in random(),
        edits in prop::collection::vec(any::<(u16, u16, u8)>(), 1..4),
    ) {
        let model = mutated(&case.model, &edits);
        // Casbin panics at an effect with other white space than its own, which changes no meaning.
        let effect = model.lines().filter_map(|line| line.split_once('=')).any(|(_, value)| {
            [ALLOW, ALLOW_AND_NOT_DENY].contains(&value.split('#').next().unwrap_or_default().trim())
        });
        if effect && model != case.model && Policy::parse(&model, &case.policy).is_ok() {
            compare(&Case { model, ..case });
        }
    }
}

/// A chain of so many links, and whether Casbin sees its end from its beginning.
fn sees(links: usize) -> bool {
    let mut policy = format!("p, n{links}, door, open\n");
    for n in 0..links {
        policy.push_str(&format!("g, n{n}, n{}\n", n + 1));
    }
    let case = BASIC.case(&policy);
    assert_eq!(Policy::parse(&case.model, &policy).is_ok(), links <= 9, "{links}");
    ask(&enforcer(&case.model, &policy), &["n0", "door", "open"])
}

#[test]
fn casbin_stops_following_links_where_portcullis_refuses() {
    assert!(sees(8) && sees(9));
    assert!(!sees(10) && !sees(11));
}

#[test]
fn casbin_passes_over_what_portcullis_refuses() {
    let basic = BASIC.case("").model;
    for (model, policy, refused) in [
        (&basic, "p2, ada, door, open", "line 1"),
        (&basic, "x, ada, door, open", "line 1"),
        (&basic, "p, eve, door, open\ng, ada, keeper, lab", "line 2"),
        (&DENY.case("").model, "p, ada, door, open, maybe", "line 1"),
        (&DOMAINS.case("").model, "p, ada, , door, open", "line 1"),
    ] {
        assert!(!ask_first(&enforcer(model, policy)), "{policy}");
        let error = Policy::parse(model, policy).expect_err("refused");
        assert!(error.to_string().contains(refused), "{error}");
    }
    // A quote inside a field, and white space behind a closing one: a field more than there seems to be.
    for policy in ["p, \"a \"\"b\"\"\", door, open", "p, \"ada\" , door, open"] {
        let casbin = enforcer(&basic, policy);
        assert!(casbin.enforce(("ada", "door", "open")).is_err(), "{policy}");
        assert!(Policy::parse(&basic, policy).is_err());
    }
    // Nothing but empty values, over no rules.
    let empty = enforcer(&basic, "");
    assert!(ask(&empty, &["", "", ""]));
    let gate = Portcullis::in_memory().expect("in memory");
    let loaded = Policy::parse(&basic, "").and_then(|policy| policy.load_into(&gate)).expect("a load");
    assert!(!loaded.enforce(&gate, &["", "", ""]).expect("a decision"));
}

fn ask_first(casbin: &Enforcer) -> bool {
    let count = casbin.get_model().get_model()["r"]["r"].tokens.len();
    ask(casbin, &["ada", "lab", "door", "open"][..count.min(4)]) && count == 4
}

#[test]
fn a_cycle_is_followed_by_casbin_and_refused_here() {
    let case = BASIC.case("g, ada, bob\ng, bob, ada\np, bob, door, open");
    assert!(ask(&enforcer(&case.model, &case.policy), &["ada", "door", "open"]));
    let error = Policy::parse(&case.model, &case.policy).expect_err("refused");
    assert_eq!(error.kind(), portcullis::ErrorKind::Cycle);
}

#[test]
fn casbin_reads_the_roles_with_p_dom_as_with_r_dom() {
    let fields = ["sub", "dom", "obj", "act"];
    for domain in ["r.dom", "p.dom"] {
        let matcher =
            format!("g(r.sub, p.sub, {domain}) && r.dom == p.dom && r.obj == p.obj && r.act == p.act");
        let text = model(&fields, &fields, "_, _, _", ALLOW, &matcher);
        let policy = "p, keeper, lab, door, open\ng, ada, keeper, lab\ng, bob, keeper, shop";
        let case = Case { model: text, ..DOMAINS.case(policy) };
        assert_eq!(compare(&case).1, 2);
    }
}
