//! The files of Casbin: what is taken, what is refused and how it is told, and that no text does any harm.

use crate::casbin_cases::{ALLOW, BASIC, BOTH, Case, DENY, DOMAINS, Family, LIST, model, mutated, random};
use crate::support::refused;
use portcullis::casbin::Policy;
use portcullis::{Error, ErrorKind};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SUB_OBJ_ACT: [&str; 3] = ["sub", "obj", "act"];
const WITH_DOM: [&str; 4] = ["sub", "dom", "obj", "act"];
const MATCHER: &str = "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act";

/// The error of a text that must be refused, which is about that line and says all of this.
#[track_caller]
fn told(
    result: portcullis::Result<Policy>,
    kind: ErrorKind,
    field: &'static str,
    line: usize,
    words: &[&str],
) -> Error {
    let error = refused(result, kind, Some(field));
    let text = error.to_string();
    if line > 0 {
        assert!(text.starts_with(&format!("{field}: line {line}: ")), "{text}");
    }
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(text.len() < 600, "{text}");
    error
}

#[track_caller]
fn bad_model(text: &str, line: usize, words: &[&str]) {
    told(Policy::parse(text, ""), ErrorKind::InvalidInput, "model", line, words);
}

#[track_caller]
fn bad_policy(family: Family, policy: &str, line: usize, words: &[&str]) {
    told(Policy::parse(&family.case("").model, policy), ErrorKind::InvalidInput, "policy", line, words);
}

#[test]
fn matchers_that_are_not_followed_are_named() {
    for (matcher, words) in [
        (
            "g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act",
            &["\"keyMatch\"", "write a p line for each"][..],
        ),
        ("g(r.sub, p.sub) && r.obj == p.obj && regexMatch(r.act, p.act)", &["\"regexMatch\""]),
        ("g(r.sub, p.sub) && globMatch(r.obj, p.obj) && r.act == p.act", &["\"globMatch\""]),
        ("g(r.sub, p.sub) && ipMatch(r.sub, p.sub) && r.act == p.act", &["\"ipMatch\""]),
        ("g(r.sub, p.sub) && g2(r.obj, p.obj) && r.act == p.act", &["\"g2\"", "scopes"]),
        (
            "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act || r.sub == \"root\"",
            &["\"||\"", "superuser"],
        ),
        ("r.sub == \"root\" && r.obj == p.obj", &["\"\"\"", "constants"]),
        ("eval(p.sub_rule) && r.obj == p.obj", &["\"eval\"", "computed"]),
        ("r.sub.Age > 18 && r.obj == p.obj", &["\"r.sub.Age\"", "attributes"]),
        ("r.sub == r.obj.Owner", &["\"r.obj.Owner\"", "attributes"]),
        ("g(r.sub, p.sub) && r.obj != p.obj", &["\"!=\"", "`==` only"]),
        ("!g(r.sub, p.sub)", &["\"!\""]),
        ("g(r.sub, p.sub) && r.obj in (p.obj)", &["\"in\""]),
        ("g(r.sub, p.sub, r.dom) && r.obj == p.obj", &["\",\""]),
        ("g(r.sub, p.obj)", &["\"p.obj\""]),
        ("g (r.sub)", &["\")\""]),
        ("g(r.sub, p.sub) && r.obj == p.act && r.act == p.obj", &["\"p.act\""]),
        ("g(r.sub, p.sub) && r.obj == r.obj && r.act == p.act", &["\"r.obj\""]),
        ("g(r.sub, p.sub) && r.dom == p.dom", &["twice", "`dom`"]),
        ("g(r.sub, p.sub) && r.eft == p.eft", &["\"r.eft\""]),
        ("g(r.sub, p.sub) && r2.obj == p2.obj", &["\"r2.obj\""]),
        ("g(r.sub, p.sub) && r .obj == p.obj", &["\"r\""]),
        ("g(r.sub, p.sub) && r.obj == p.obj", &["does not compare `r.act`"]),
        ("r.obj == p.obj && r.act == p.act", &["does not compare `r.sub`"]),
        ("g(r.sub, p.sub) && r.sub == p.sub && r.obj == p.obj && r.act == p.act", &["`sub` twice"]),
        ("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act && r.act == p.act", &["`act` twice"]),
        ("(g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", &["too early"]),
        ("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act)", &["\")\""]),
        ("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act &&", &["too early"]),
        ("g(r.sub, p.sub) r.obj == p.obj", &["\"r.obj\""]),
        ("g(r.sub,", &["too early"]),
        ("true", &["\"true\""]),
        ("🦀", &["\"🦀\""]),
    ] {
        let text = model(&SUB_OBJ_ACT, &SUB_OBJ_ACT, "_, _", ALLOW, matcher);
        // The one that looks as if it had domains is about a model without.
        let words = if words == ["twice", "`dom`"] { &["does not compare"][..] } else { words };
        bad_model(&text, 14, words);
    }
}

#[test]
fn models_that_are_not_followed_are_named_with_their_line() {
    let whole = |roles: &str, effect: &str| model(&SUB_OBJ_ACT, &SUB_OBJ_ACT, roles, effect, MATCHER);
    for (effect, words) in [
        ("!some(where (p.eft == deny))", "nobody granted"),
        ("priority(p.eft) || deny", "\"priority(p.eft) || deny\""),
        ("subjectPriority(p.eft) || deny", "subjectPriority"),
        ("some(where (p_eft == allow))", "\"some(where (p_eft == allow))\""),
        ("some(where (p.eft == allow)) || some(where (p.eft == deny))", "is not supported"),
    ] {
        bad_model(&whole("_, _", effect), 11, &[words]);
    }
    for roles in ["_, _, _", "_", "_, _, (_, _)", "_, _, _, _", "a, b", "_ _"] {
        bad_model(&whole(roles, ALLOW), 8, &["they must be `_, _`"]);
    }
    let domains = |roles: &str, matcher: &str| model(&WITH_DOM, &WITH_DOM, roles, ALLOW, matcher);
    let rest = "r.dom == p.dom && r.obj == p.obj && r.act == p.act";
    bad_model(&domains("_, _", &format!("g(r.sub, p.sub) && {rest}")), 8, &["they must be `_, _, _`"]);
    bad_model(&domains("_, _, _", &format!("g(r.sub, p.sub) && {rest}")), 14, &["\")\""]);
    bad_model(&domains("_, _, _", &format!("g(r.sub, p.sub, \"*\") && {rest}")), 14, &["constants"]);
    bad_model(
        &domains("_, _, _", "g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act"),
        14,
        &["`r.dom`"],
    );
    bad_model(&whole("", ALLOW), 11, &["no [role_definition]"]);
    let unused = model(
        &SUB_OBJ_ACT,
        &SUB_OBJ_ACT,
        "_, _",
        ALLOW,
        "r.sub == p.sub && r.obj == p.obj && r.act == p.act",
    );
    bad_model(&unused, 8, &["does not ask `g(r.sub, p.sub)`"]);

    let fields = |request: &[&str], rule: &[&str]| model(request, rule, "_, _", ALLOW, MATCHER);
    bad_model(&fields(&["sub", "act"], &SUB_OBJ_ACT), 2, &["no field `obj`"]);
    bad_model(&fields(&["user", "obj", "act"], &SUB_OBJ_ACT), 2, &["\"user\"", "give it that name"]);
    bad_model(&fields(&["sub", "obj", "act", "eft"], &SUB_OBJ_ACT), 2, &["no `eft`"]);
    bad_model(&fields(&["sub", "sub", "obj", "act"], &SUB_OBJ_ACT), 2, &["twice"]);
    bad_model(&fields(&WITH_DOM, &SUB_OBJ_ACT), 5, &["`dom`"]);
    bad_model(&fields(&SUB_OBJ_ACT, &["sub", "obj", "act", "priority"]), 5, &["\"priority\""]);
    bad_model(&fields(&SUB_OBJ_ACT, &["sub", "obj", "act", ""]), 5, &["\"\""]);

    let basic = BASIC.case("").model;
    bad_model(&basic.replace("g = _, _", "g = _, _\ng2 = _, _"), 9, &["\"g2\"", "scopes"]);
    for key in ["r2", "p2", "e2", "m2"] {
        let letter = &key[..1];
        let text = basic.replace(&format!("\n{letter} = "), &format!("\n{key} = x\n{letter} = "));
        let line = 1 + text.lines().position(|line| line.starts_with(key)).unwrap();
        bad_model(&text, line, &[key, "a model and a policy of its own"]);
    }
    bad_model(&basic.replace("\nm = ", "\nM = "), 14, &["\"M\"", "takes no notice"]);
    bad_model(&basic.replace("\nm = ", "\nm "), 14, &["\"m g(r.sub, p.sub) && r.obj\""]);
    bad_model(&basic.replace(MATCHER, "# later"), 14, &["is empty"]);
    bad_model(&basic.replace(MATCHER, ""), 14, &["is empty"]);
    bad_model(&basic.replace("[matchers]", "matchers"), 13, &["\"matchers\"", "neither a section"]);
    bad_model(&basic.replace("[matchers]", "[Matchers]"), 13, &["\"Matchers\"", "[matchers]"]);
    bad_model(&basic.replace("[matchers]", "[matchers] # x"), 13, &["neither a section"]);
    bad_model(&format!("x = 1\n{basic}"), 1, &["before every section"]);
    bad_model(&format!("{basic}m = r.sub == p.sub"), 15, &["line 14 already"]);
    bad_model(&format!("{basic}[constraint_definition]\nc = sod"), 15, &["\"constraint_definition\""]);
    for (section, key) in
        [("request_definition", "r"), ("policy_definition", "p"), ("policy_effect", "e"), ("matchers", "m")]
    {
        let text: Vec<&str> = basic.lines().filter(|line| !line.starts_with(&format!("{key} = "))).collect();
        bad_model(&text.join("\n"), 0, &[&format!("no `{key}` in [{section}]")]);
    }
    bad_model("", 0, &["no `r`"]);
}

#[test]
fn a_fault_behind_a_continuation_is_told_with_its_own_line() {
    let matcher = "g(r.sub, p.sub) \\\n  && r.obj == p.obj \\\n  && keyMatch(r.act, p.act)";
    bad_model(&model(&SUB_OBJ_ACT, &SUB_OBJ_ACT, "_, _", ALLOW, matcher), 16, &["keyMatch"]);
    // A comment and a section end a line that was to go on.
    let text = model(&SUB_OBJ_ACT, &SUB_OBJ_ACT, "_, _", &format!("{ALLOW} \\\n"), MATCHER);
    assert!(Policy::parse(&text, "").is_ok());
    assert!(Policy::parse(&text.replace("\\\n\n\n[", "\\\n["), "").is_ok());
    let matcher = "g(r.sub, p.sub) && \\\n# r.obj == p.obj \\\n";
    bad_model(&model(&SUB_OBJ_ACT, &SUB_OBJ_ACT, "_, _", ALLOW, matcher), 14, &["too early"]);
}

#[test]
fn lines_that_are_not_followed_are_named() {
    for (family, policy, line, words) in [
        (BASIC, "p, ada, door", 1, &["3 fields after the p (sub, obj, act), not 2"][..]),
        (BASIC, "p, ada, door, open, allow", 1, &["not 4"]),
        (DENY, "\n\np, ada, door, open", 3, &["4 fields after the p (sub, obj, act, eft), not 3"]),
        (DENY, "p, ada, door, open, maybe", 1, &["\"maybe\"", "allow or deny"]),
        (DENY, "p, ada, door, open, Deny", 1, &["\"Deny\""]),
        (BASIC, "g, ada", 1, &["2 fields after the g (who, the role), not 1"]),
        (BASIC, "g, ada, keeper, lab", 1, &["not 3"]),
        (DOMAINS, "g, ada, keeper", 1, &["the domain), not 2"]),
        (BASIC, "p", 1, &["not 0"]),
        (LIST, "p, ada, door, open\ng, ada, keeper", 2, &["no [role_definition]"]),
        (BASIC, "# x\np2, ada, door, open", 2, &["\"p2\"", "of its own"]),
        (BASIC, "g2, door, doors", 1, &["\"g2\"", "scopes"]),
        (BASIC, "P, ada, door, open", 1, &["\"P\"", "begins with p or g"]),
        (LIST, "x", 1, &["begins with p"]),
        (BASIC, "\u{FEFF}p, ada, door, open", 1, &["\\u{feff}p"]),
        (BASIC, "p, ada, , open", 1, &["field 3 is empty"]),
        (BASIC, "p, ada, door, open,", 1, &["field 5 is empty"]),
        (BASIC, "p, \"\", door, open", 1, &["field 2 is empty"]),
        (BASIC, "p, \"ada, door, open", 1, &["does not end"]),
        (BASIC, "p, \"ada\"x, door, open", 1, &["after the closing quote", "\"x, door, open\""]),
        (BASIC, "p, \"a\"\"b\", door, open", 1, &["after the closing quote"]),
        (BASIC, "p, a\"b, door, open", 1, &["quote inside"]),
        (BASIC, "p, ada, door, open\np, bob smith, door, open", 2, &["\"bob smith\"", "U+0020", "g line"]),
        (BASIC, "p, \u{202E}ada, door, open", 1, &["\"\\u{202e}ada\""]),
        (BASIC, "g, ada, a\u{7}b", 1, &["the name of a role", "\"a\\u{7}b\""]),
        (BASIC, "g, ada, \" keeper\"", 1, &["the name of a role", "white space"]),
        (BASIC, "p, *, door, open", 1, &["\"*\" looks like a pattern"]),
        (BASIC, "g, /book/*, books", 1, &["\"/book/*\" looks like a pattern"]),
        (DOMAINS, "p, ada, lab, door, open\ng, ada, keeper, *", 2, &["\"*\"", "matching functions"]),
        (DOMAINS, "p, ada, *, door, open", 1, &["\"*\""]),
        (BASIC, "p, ada, e\u{301}, open", 1, &["of a permission", "normal form"]),
        (DOMAINS, "p, ada, a/b, door, open", 1, &["of a tenant", "\"/\""]),
        (DOMAINS, "g, ada, x, \"lab \"", 1, &["of a tenant"]),
        (BASIC, "p, ada, door, open\n\np, Ada, safe, open", 3, &["\"Ada\"", "\"ada\" (line 1)"]),
        (BASIC, "g, ADA, keeper\np, ada, door, open", 2, &["\"ADA\" (line 1)"]),
        (BASIC, "p, ada, a:b, c\np, ada, a, b:c", 2, &["\"a\" with \"b:c\"", "\"a:b\" with \"c\" (line 1)"]),
    ] {
        bad_policy(family, policy, line, words);
    }
    // Where names are compared with `==`, a star is a star.
    assert!(Policy::parse(&BASIC.case("").model, "p, ada, /book/*, *").is_ok());
    assert!(Policy::parse(&LIST.case("").model, "p, *, door, open").is_ok());
    // A role may have the same letters as a user, and as another role.
    for policy in ["g, ada, Ada", "g, bob, keeper\ng, bob, Keeper", "p, ada, a:b, c\np, ada, a:b, c"] {
        assert!(Policy::parse(&BASIC.case("").model, policy).is_ok(), "{policy}");
    }
}

#[test]
fn a_cycle_of_roles_is_refused_with_its_lines() {
    let basic = BASIC.case("").model;
    for (policy, line, words) in [
        ("g, a, a", 1, &["\"a\" -> \"a\" (line 1)"][..]),
        ("g, a, b\ng, b, a", 2, &["(lines"]),
        (
            "g, a, b\ng, x, a\ng, b, c\np, a, door, open\ng, c, a\ng, c, z",
            5,
            &["\"a\"", "\"b\"", "\"c\"", "5"],
        ),
        ("g, out, far\ng, in, a\ng, a, out\ng, a, b\ng, b, a", 5, &["\"a\"", "\"b\""]),
    ] {
        let error = told(Policy::parse(&basic, policy), ErrorKind::Cycle, "policy", line, words);
        assert!(!error.to_string().contains("\"in\"") && !error.to_string().contains("\"out\""), "{error}");
    }
    let cycle = "g, a, b, lab\ng, b, a, shop\n";
    assert!(Policy::parse(&BOTH.case("").model, cycle).is_ok(), "each domain has roles of its own");
    told(
        Policy::parse(&BOTH.case("").model, &format!("{cycle}g, b, a, lab")),
        ErrorKind::Cycle,
        "policy",
        3,
        &["1", "3"],
    );
    // A long one is told in short.
    let long: String = (0..5000).map(|n| format!("g, n{n}, n{}\n", (n + 1) % 5000)).collect();
    told(Policy::parse(&basic, &long), ErrorKind::Cycle, "policy", 5000, &["..."]);
}

#[test]
fn a_chain_that_casbin_does_not_follow_is_refused() {
    let chain = |links: usize| (0..links).map(|n| format!("g, n{n}, n{}\n", n + 1)).collect::<String>();
    let basic = BASIC.case("").model;
    assert!(Policy::parse(&basic, &chain(9)).is_ok());
    let words = ["10 links", "follows 9", "\"n0\"", "\"n10\""];
    told(Policy::parse(&basic, &chain(10)), ErrorKind::InvalidInput, "policy", 10, &words);
    told(Policy::parse(&basic, &chain(100_000)), ErrorKind::InvalidInput, "policy", 10, &["10 links"]);
}

/// Links between fourteen names: any, or mostly upwards by a few.
fn graphs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let upwards = (0u8..14, 1u8..4, 0u8..80).prop_map(|(from, by, back)| {
        let to = if back == 0 { from } else { from + by };
        if to < 14 { (from, to) } else { (from - 1, from) }
    });
    prop_oneof![prop::collection::vec((0u8..14, 0u8..14), 0..24), prop::collection::vec(upwards, 0..40),]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn cycles_and_long_chains_are_found_in_any_graph(links in graphs()) {
        let policy: String = links.iter().map(|(from, to)| format!("g, n{from}, n{to}\n")).collect();
        // The longest way from each name, found by trying all; none where it comes back to a name.
        fn longest(links: &[(u8, u8)], way: &mut Vec<u8>) -> Option<usize> {
            let here = *way.last().expect("a name");
            let mut most = way.len() - 1;
            for (_, to) in links.iter().filter(|(from, _)| *from == here) {
                if way.contains(to) {
                    return None;
                }
                way.push(*to);
                most = most.max(longest(links, way)?);
                way.pop();
            }
            Some(most)
        }
        let unique: Vec<(u8, u8)> = links.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let longest = (0..14).map(|name| longest(&unique, &mut vec![name])).try_fold(0, |most, n| Some(most.max(n?)));
        match (Policy::parse(&BASIC.case("").model, &policy), longest) {
            (Ok(_), Some(0..=9)) => {}
            (Err(error), None) => prop_assert_eq!(error.kind(), ErrorKind::Cycle),
            (Err(error), Some(10..)) => prop_assert!(error.to_string().contains("links"), "{}", error),
            (found, longest) => prop_assert!(false, "{found:?} where the longest is {longest:?}"),
        }
    }
}

#[test]
fn sizes_are_limited() {
    let basic = BASIC.case("").model;
    let comment = |length: usize| format!("#{}", "x".repeat(length - 1));
    let room = (64 << 10) - basic.len();
    assert!(Policy::parse(&format!("{basic}{}", comment(room)), "").is_ok());
    refused(
        Policy::parse(&format!("{basic}{}", comment(room + 1)), ""),
        ErrorKind::LimitExceeded,
        Some("model"),
    );
    assert!(Policy::parse(&basic, &comment(16 << 20)).is_ok());
    refused(Policy::parse(&basic, &comment((16 << 20) + 1)), ErrorKind::LimitExceeded, Some("policy"));

    let parents = |who: &str, count: usize| {
        let links: String = (0..count).map(|n| format!("g, {who}, r{n}\n")).collect();
        Policy::parse(&basic, &format!("g, ada, senior\n{links}"))
    };
    assert!(parents("senior", 128).is_ok() && parents("ada", 500).is_ok());
    told(parents("senior", 129), ErrorKind::LimitExceeded, "policy", 130, &["\"senior\"", "128"]);
    bad_policy(BASIC, &format!("p, {}, door, open", "x".repeat(129)), 1, &["x...\"", "129 bytes"]);
    bad_policy(BASIC, &format!("p, ada, {}, open", "x".repeat(124)), 1, &["of a permission", "129 bytes"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it shows how long things take")]
fn large_files_are_read_in_little_time() {
    let started = Instant::now();
    let basic = BASIC.case("").model;
    let wide: String =
        (0..100_000).map(|n| format!("g, u{n}, r{}\np, r{}, o{n}, a\n", n % 50, n % 50)).collect();
    assert!(Policy::parse(&basic, &wide).is_ok());
    let dense: String = (0..300)
        .flat_map(|a| (a % 5 + 1..5).map(move |b| format!("g, l{}n{a}, l{b}n{}\n", a % 5, a * 7 % 300)))
        .collect();
    let _ = Policy::parse(&basic, &dense);
    assert!(Policy::parse(&basic, &"\"".repeat(1 << 20)).is_err());
    assert!(Policy::parse(&basic, &",".repeat(1 << 20)).is_err());
    assert!(Policy::parse(&"\\\n".repeat(30_000), "").is_err());
    assert!(Policy::parse(&format!("[matchers]\nm = {}", "(".repeat(60_000)), "").is_err());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// Whatever a text is: a policy, or an error that says which text and, but for what is missing, which line.
fn any_text(model: &str, policy: &str) {
    let Err(error) = Policy::parse(model, policy) else { return };
    let text = error.to_string();
    assert!(matches!(error.field(), Some("model" | "policy")), "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Cycle | ErrorKind::LimitExceeded));
    assert!(text.contains(": line ") || text.contains("has no `"), "{text}");
    assert!(text.len() < 1200 && !text.chars().any(char::is_control), "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn no_text_does_any_harm(model in "\\PC*|[\\[\\]=\\\\# a-z,\n\r]*", policy in "\\PC*|[pg,\" \n#ab]*") {
        any_text(&model, &policy);
        any_text(&DENY.case("").model, &policy);
        any_text(&BASIC.case("").model, &policy);
        any_text(&DOMAINS.case("").model, &policy);
    }

    #[test]
    fn no_change_to_a_valid_file_does_any_harm(
        case in random(),
        model in prop::collection::vec(any::<(u16, u16, u8)>(), 0..4),
        policy in prop::collection::vec(any::<(u16, u16, u8)>(), 0..4),
    ) {
        let Case { model: text, policy: lines, .. } = case;
        any_text(&mutated(&text, &model), &lines);
        any_text(&text, &mutated(&lines, &policy));
    }
}
