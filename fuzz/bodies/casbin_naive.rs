//! What Casbin decides, computed as plainly as can be: every rule is tried, and every link is followed.

use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    /// The fields of a request and of a rule, in their order.
    request: Vec<String>,
    rule: Vec<String>,
    heeds_denials: bool,
    rules: Vec<Vec<String>>,
    links: Vec<Vec<String>>,
}

/// The fields of a line: at the commas outside of quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut found, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        quoted ^= c == '"';
        match c {
            ',' if !quoted => found.push(String::new()),
            c => found.last_mut().expect("one at least").push(c),
        }
    }
    let plain = |field: &String| {
        let field = field.trim();
        field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).to_owned()
    };
    found.iter().map(plain).collect()
}

impl Naive {
    /// Reads a policy that a model takes whose `r` and `p` have these fields.
    pub(crate) fn new(request: &[&str], rule: &[&str], heeds_denials: bool, policy: &str) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (request, rule) = (owned(request), owned(rule));
        Self { request, rule, heeds_denials, rules: Vec::new(), links: Vec::new() }.of(policy)
    }

    /// Another policy of the same model.
    pub(crate) fn of(&self, policy: &str) -> Self {
        let lines = policy.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (links, rules) = lines.map(fields).partition(|fields| fields[0] == "g");
        Self { rules, links, ..self.clone() }
    }

    fn part<'f>(&self, rule: &'f [String], name: &str) -> &'f str {
        self.rule.iter().zip(&rule[1..]).find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// Whether one name holds another one.
    fn holds(&self, name: &str, role: &str, domain: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::from([name]), vec![name]);
        while let Some(next) = open.pop() {
            if next == role {
                return true;
            }
            for link in &self.links {
                let here = link.get(3).map_or("", String::as_str) == domain;
                if here && link[1] == next && seen.insert(&link[2]) {
                    open.push(&link[2]);
                }
            }
        }
        false
    }

    pub(crate) fn decide(&self, request: &[&str]) -> bool {
        let value = |name: &str| {
            self.request.iter().zip(request).find(|(field, _)| *field == name).map_or("", |(_, value)| *value)
        };
        let (subject, domain) = (value("sub"), value("dom"));
        let (mut allowed, mut denied) = (false, false);
        for rule in &self.rules {
            let matches = ["dom", "obj", "act"].iter().all(|name| self.part(rule, name) == value(name))
                && self.holds(subject, self.part(rule, "sub"), domain);
            match self.part(rule, "eft") {
                "deny" => denied |= matches && self.heeds_denials,
                _ => allowed |= matches,
            }
        }
        allowed && !denied
    }

    /// All that can be asked: every combination of the names in the policy, and of one that is not there.
    pub(crate) fn requests(&self) -> Vec<Vec<&str>> {
        let mut all = vec![Vec::new()];
        for field in &self.request {
            let mut names: BTreeSet<&str> = BTreeSet::from(["nobody"]);
            names.extend(self.rules.iter().map(|rule| self.part(rule, field)));
            if field == "sub" {
                names.extend(self.links.iter().flat_map(|link| [link[1].as_str(), link[2].as_str()]));
            }
            if field == "dom" {
                names.extend(self.links.iter().map(|link| link[3].as_str()));
            }
            all = all
                .iter()
                .flat_map(|request| names.iter().map(|name| [request.as_slice(), &[*name]].concat()))
                .collect();
        }
        all
    }
}
