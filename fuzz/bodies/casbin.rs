//! Any texts read as a model and a policy of Casbin; what is taken is loaded and decided.

#[path = "casbin_naive.rs"]
mod naive;

use naive::Naive;
use portcullis::casbin::Policy;
use portcullis::{ErrorKind, Portcullis};

/// A model with roles: with domains, with denials, with both or neither.
fn model(domains: bool, denials: bool) -> (String, Vec<&'static str>, Vec<&'static str>) {
    let request = if domains { vec!["sub", "dom", "obj", "act"] } else { vec!["sub", "obj", "act"] };
    let rule = if denials { [&request[..], &["eft"]].concat() } else { request.clone() };
    let (links, matcher) = match domains {
        true => ("_, _, _", "g(r.sub, p.sub, r.dom) && r.dom == p.dom"),
        false => ("_, _", "g(r.sub, p.sub)"),
    };
    let unless = if denials { " && !some(where (p.eft == deny))" } else { "" };
    let text = format!(
        "[request_definition]\nr = {}\n[policy_definition]\np = {}\n[role_definition]\ng = {links}\n[policy_effect]\n\
         e = some(where (p.eft == allow)){unless}\n[matchers]\nm = {matcher} && r.obj == p.obj && r.act == p.act\n",
        request.join(", "),
        rule.join(", ")
    );
    (text, request, rule)
}

/// A policy, or an error that names the file and, but for what is missing altogether, the line.
fn parse(model: &str, policy: &str) -> Option<Policy> {
    match Policy::parse(model, policy) {
        Ok(policy) => Some(policy),
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error.field(), Some("model" | "policy")), "{error:?}");
            let kinds = [ErrorKind::InvalidInput, ErrorKind::Cycle, ErrorKind::LimitExceeded];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert!(text.contains(": line ") || text.contains("has no `"), "{text}");
            assert!(text.len() < 1200 && !text.chars().any(char::is_control), "{text:?}");
            None
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let (way, rest) = data.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(rest);
    // One half of the texts is a model and a policy, the other a policy of a model that is known.
    if way & 4 == 4 {
        let (model, policy) = text.split_once("\n---\n").unwrap_or((&text, ""));
        let _ = parse(model, policy);
        return;
    }
    let denials = way & 2 == 2;
    let (model, request, rule) = model(way & 1 == 1, denials);
    let Some(policy) = parse(&model, &text).filter(|_| text.len() < 1500) else { return };
    let gate = Portcullis::in_memory().expect("in memory");
    let loaded = policy.load_into(&gate).expect("a load of what was taken");
    let naive = Naive::new(&request, &rule, denials, &text);
    for request in naive.requests().iter().take(3000) {
        let found = loaded.enforce(&gate, request).expect("a decision");
        assert_eq!(found, naive.decide(request), "{request:?} of {text}");
    }
    let head = gate.audit().head();
    policy.load_into(&gate).expect("a second load");
    assert_eq!(gate.audit().head(), head, "a second load writes nothing");
    assert!(gate.verify().expect("a verification").is_sound());
}
