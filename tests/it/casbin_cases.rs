//! Casbin policies: those that everybody begins with, corner cases, and random ones. They are also asked of Casbin
//! itself, in `tests/casbin_oracle`.

#[path = "../../fuzz/bodies/casbin_naive.rs"]
mod naive;

pub(crate) use naive::Naive;

use proptest::prelude::*;

pub(crate) const ALLOW: &str = "some(where (p.eft == allow))";
pub(crate) const ALLOW_AND_NOT_DENY: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";

/// A model's text from its parts.
pub(crate) fn model(request: &[&str], rule: &[&str], roles: &str, effect: &str, matcher: &str) -> String {
    let roles = if roles.is_empty() { String::new() } else { format!("\n[role_definition]\ng = {roles}\n") };
    format!(
        "[request_definition]\nr = {}\n\n[policy_definition]\np = {}\n{roles}\n[policy_effect]\ne = {effect}\n\n[matchers]\nm = {matcher}\n",
        request.join(", "),
        rule.join(", ")
    )
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) policy: String,
    pub(crate) naive: Naive,
}

/// A family of models: with roles, domains, a column for the effect, an effect that heeds denials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) roles: bool,
    pub(crate) domains: bool,
    pub(crate) column: bool,
    pub(crate) denials: bool,
}

impl Family {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|n| Self {
            roles: n & 1 == 0,
            domains: n & 2 == 0,
            column: n & 4 == 0,
            denials: n & 8 == 0,
        })
    }

    pub(crate) fn request(self) -> &'static [&'static str] {
        if self.domains { &["sub", "dom", "obj", "act"] } else { &["sub", "obj", "act"] }
    }

    pub(crate) fn rule(self) -> Vec<&'static str> {
        let column = if self.column { &["eft"][..] } else { &[] };
        [self.request(), column].concat()
    }

    pub(crate) fn links(self) -> &'static str {
        match (self.roles, self.domains) {
            (false, _) => "",
            (true, false) => "_, _",
            (true, true) => "_, _, _",
        }
    }

    /// What is compared, one for each field of a request.
    fn conjuncts(self) -> Vec<&'static str> {
        let subject = match (self.roles, self.domains) {
            (false, _) => "r.sub == p.sub",
            (true, false) => "g(r.sub, p.sub)",
            (true, true) => "g(r.sub, p.sub, r.dom)",
        };
        let domain = if self.domains { &["r.dom == p.dom"][..] } else { &[] };
        [&[subject][..], domain, &["r.obj == p.obj", "r.act == p.act"]].concat()
    }

    pub(crate) fn effect(self) -> &'static str {
        if self.denials { ALLOW_AND_NOT_DENY } else { ALLOW }
    }

    pub(crate) fn case(self, policy: &str) -> Case {
        let (request, rule) = (self.request(), self.rule());
        Case {
            model: model(request, &rule, self.links(), self.effect(), &self.conjuncts().join(" && ")),
            policy: policy.to_owned(),
            naive: Naive::new(request, &rule, self.denials, policy),
        }
    }
}

pub(crate) const BASIC: Family = Family { roles: true, domains: false, column: false, denials: false };
pub(crate) const LIST: Family = Family { roles: false, ..BASIC };
pub(crate) const DOMAINS: Family = Family { domains: true, ..BASIC };
pub(crate) const DENY: Family = Family { column: true, denials: true, ..BASIC };
pub(crate) const BOTH: Family = Family { domains: true, ..DENY };
/// There is a column for the effect, and nobody looks at denials.
pub(crate) const DEAF: Family = Family { denials: false, ..DENY };

/// A policy, and the requests that Casbin allows; all others are denied.
pub(crate) type Known = (&'static str, Family, &'static str, &'static [&'static str]);

pub(crate) const KNOWN: &[Known] = &[
    ("nothing", BASIC, "", &[]),
    ("only comments", BOTH, "# p, ada, lab, door, open, allow\n\n   # g, ada, staff, lab\n", &[]),
    ("a list", LIST, "p, ada, door, open\np, bob, safe, shut", &["ada door open", "bob safe shut"]),
    ("stars by the letter", LIST, "p, *, /book/*, *", &["* /book/* *"]),
    (
        "basic",
        BASIC,
        "p, ada, door, open\np, bob, safe, shut\np, keeper, safe, open\np, keeper, safe, shut\ng, ada, keeper",
        &[
            "ada door open",
            "ada safe open",
            "ada safe shut",
            "bob safe shut",
            "keeper safe open",
            "keeper safe shut",
        ],
    ),
    (
        "hierarchy",
        BASIC,
        "p, ada, door, open\np, porter, door, shut\np, keeper, safe, open\n\ng, ada, chief\ng, chief, porter\ng, chief, keeper",
        &[
            "ada door open",
            "ada door shut",
            "ada safe open",
            "chief door shut",
            "chief safe open",
            "porter door shut",
            "keeper safe open",
        ],
    ),
    (
        "diamond",
        BASIC,
        "g, ada, left\ng, ada, right\ng, left, top\ng, right, top\ng, bob, right\np, top, door, open\np, left, safe, open",
        &[
            "ada door open",
            "left door open",
            "right door open",
            "top door open",
            "bob door open",
            "ada safe open",
            "left safe open",
        ],
    ),
    (
        "domains",
        DOMAINS,
        "p, chief, lab, door, open\np, chief, shop, safe, open\ng, ada, chief, lab\ng, bob, chief, shop",
        &["ada lab door open", "chief lab door open", "bob shop safe open", "chief shop safe open"],
    ),
    (
        "hierarchies with domains, and lines of a user",
        DOMAINS,
        "p, role:in, lab, door, open\np, role:out, lab, door, shut\np, ada, lab, safe, open\np, ada, shop, safe, open\n\
         g, role:all, role:in, lab\ng, role:all, role:out, lab\ng, ada, role:all, lab\ng, bob, role:in, shop",
        &[
            "ada lab door open",
            "ada lab door shut",
            "ada lab safe open",
            "ada shop safe open",
            "role:all lab door open",
            "role:all lab door shut",
            "role:in lab door open",
            "role:out lab door shut",
        ],
    ),
    (
        "opposite hierarchies in two domains",
        DOMAINS,
        "g, a, b, lab\ng, b, a, shop\np, a, lab, door, open\np, b, lab, door, shut\np, a, shop, door, open\np, b, shop, door, shut",
        &[
            "a lab door open",
            "a lab door shut",
            "b lab door shut",
            "a shop door open",
            "b shop door open",
            "b shop door shut",
        ],
    ),
    (
        "deny",
        DENY,
        "p, ada, door, open, allow\np, bob, safe, shut, allow\np, keeper, safe, open, allow\np, keeper, safe, shut, allow\n\
         p, ada, safe, shut, deny\ng, ada, keeper",
        &["ada door open", "ada safe open", "bob safe shut", "keeper safe open", "keeper safe shut"],
    ),
    (
        "deny through a role of a role, and before the grant",
        DENY,
        "p, outcast, safe, open, deny\np, ada, safe, open, allow\np, bob, safe, open, allow\ng, ada, guest\ng, guest, outcast\n\
         p, guest, door, open, allow",
        &["ada door open", "bob safe open", "guest door open"],
    ),
    (
        "both for the same pair",
        DENY,
        "p, ada, safe, open, allow\np, ada, safe, open, deny\np, keeper, door, open, deny\np, keeper, door, open, allow\n\
         g, bob, keeper\np, bob, door, open, allow",
        &[],
    ),
    (
        "deny with domains",
        BOTH,
        "p, chief, lab, door, open, allow\np, chief, shop, door, open, allow\np, ada, lab, door, open, deny\n\
         g, ada, chief, lab\ng, ada, chief, shop\ng, bob, chief, lab",
        &["ada shop door open", "bob lab door open", "chief lab door open", "chief shop door open"],
    ),
    (
        "denials that nobody looks at",
        DEAF,
        "p, ada, safe, open, deny\np, ada, safe, open, allow\np, bob, safe, open, deny",
        &["ada safe open"],
    ),
    (
        "a role that nobody holds, one with no rules, and lines that come twice",
        BASIC,
        "p, keeper, safe, open\np, keeper, safe, open\ng, ada, empty\ng, ada, empty\ng, empty, hollow\np, lost, door, open",
        &["keeper safe open", "lost door open"],
    ),
    (
        "quotes, white space, comments and another line ending",
        BASIC,
        "  p ,  ada,\"a, b\",\t open \r\n\t# p, bob, door, open\r\n\r\np,\"bob\", \"front door\",open\r\ng, ada, \"day shift\"\r\np, day shift, #1, see:all",
        &["ada a,_b open", "bob front_door open", "ada #1 see:all", "day_shift #1 see:all"],
    ),
    (
        "names of any script",
        DOMAINS,
        "p, großer, 研究所, 门, открыть\ng, zoë, großer, 研究所",
        &["zoë 研究所 门 открыть", "großer 研究所 门 открыть"],
    ),
];

/// A random policy of a random family, written in a random way.
pub(crate) fn random() -> impl Strategy<Value = Case> {
    let lines = prop::collection::vec((any::<[u8; 5]>(), any::<u16>()), 0..24);
    (0usize..16, any::<[u8; 16]>(), lines).prop_map(|(family, ways, lines)| {
        let family = Family::all().nth(family).expect("one of sixteen");
        write(family, ways, &lines)
    })
}

/// Names that hold each other only upwards, so that there is no cycle and no chain of more than nine links.
const NAMES: [&str; 10] = ["ada", "bob", "cy:1", "d/d", "e@e.org", "f+", "g", "p", "i.i", "zoë"];
const DOMAIN_NAMES: [&str; 3] = ["lab", "shop", "lab 2"];
const OBJECTS: [&str; 4] = ["door", "/safe/1", "a, b", "x:y"];
const ACTIONS: [&str; 2] = ["open", "z"];

fn shuffled<T: Clone>(items: &[T], way: u8) -> Vec<T> {
    let mut left = items.to_vec();
    let mut way = usize::from(way);
    let mut out = Vec::new();
    while !left.is_empty() {
        out.push(left.remove(way % left.len()));
        way /= 3;
    }
    out
}

fn write(family: Family, ways: [u8; 16], lines: &[([u8; 5], u16)]) -> Case {
    let request = shuffled(family.request(), ways[0]);
    let rule = shuffled(&family.rule(), ways[1]);
    let mut terms: Vec<String> = family.conjuncts().into_iter().map(str::to_owned).collect();
    for (term, way) in terms.iter_mut().zip(&ways[2..6]) {
        if let Some((left, right)) = term.clone().split_once(" == ")
            && way & 1 == 1
        {
            *term = format!("{right} == {left}");
        }
        if way & 2 == 2 {
            *term = format!("({term})");
        }
        if way & 4 == 4 {
            *term = term.replace("==", "  ==\t").replace(", r.dom", " , p.dom");
        }
    }
    let matcher =
        shuffled(&terms, ways[6]).join(["&&", " && ", " \\\n  && ", "&& \\\n"][usize::from(ways[7] % 4)]);
    let matcher = format!("{matcher}{}", ["", "  # as in the hand book", " \\\n"][usize::from(ways[8] % 3)]);
    let mut text = model(&request, &rule, family.links(), family.effect(), &matcher);
    if ways[9] & 1 == 1 {
        text = text.replace('\n', "\r\n");
    }
    if ways[9] & 2 == 2 {
        text = format!("; a model\n# of {family:?}\n{}", text.replace(" = ", "="));
    }

    let mut policy = String::new();
    for (picks, way) in lines {
        let pick = |names: &[&'static str], n: usize| names[usize::from(picks[n]) % names.len()];
        let domain = pick(&DOMAIN_NAMES, 3);
        let mut fields = if family.roles && way & 1 == 1 {
            let low = usize::from(picks[0]) % 9;
            let high = low + 1 + usize::from(picks[1]) % (9 - low);
            let mut fields = vec!["g", NAMES[low], NAMES[high]];
            fields.extend(family.domains.then_some(domain));
            fields
        } else {
            let mut fields = vec!["p"];
            fields.extend(rule.iter().map(|field| match *field {
                "sub" => pick(&NAMES, 0),
                "dom" => domain,
                "obj" => pick(&OBJECTS, 1),
                "act" => pick(&ACTIONS, 2),
                _ => ["allow", "allow", "deny"][usize::from(picks[4]) % 3],
            }));
            fields
        };
        let last = fields.pop().expect("several");
        for (n, field) in (1..).zip(fields) {
            policy.push_str(&quoted(field, way >> n & 1 == 1));
            policy.push_str([",", ", ", ",\t"][usize::from(way >> n) % 3]);
        }
        policy.push_str(&quoted(last, way & 2 == 2));
        policy
            .push_str(["\n", "\r\n", "  \n", "\n\n", "\n# p, ada, door, open\n"][usize::from(way >> 8) % 5]);
    }
    let naive = Naive::new(&request, &rule, family.denials, &policy);
    Case { model: text, policy, naive }
}

fn quoted(field: &str, quote: bool) -> String {
    if quote || field.contains(',') { format!("\"{field}\"") } else { field.to_owned() }
}

/// The text with some pieces replaced, moved or left out.
pub(crate) fn mutated(text: &str, edits: &[(u16, u16, u8)]) -> String {
    const PIECES: [&str; 16] =
        ["\n", ",", "\"", "\\", "#", "[", "]", "=", "&&", "(", ")", "g", "p", ".", "\u{301}", "\0"];
    let mut chars: Vec<char> = text.chars().collect();
    for (place, length, what) in edits {
        let at = usize::from(*place) % (chars.len() + 1);
        let end = (at + usize::from(*length) % 12).min(chars.len());
        match what % 3 {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, PIECES[usize::from(what / 3) % 16].chars())),
            _ => {
                let piece: Vec<char> = chars.drain(at..end).collect();
                let to = usize::from(*length / 12) % (chars.len() + 1);
                drop(chars.splice(to..to, piece));
            }
        }
    }
    chars.into_iter().collect()
}
