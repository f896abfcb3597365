//! The policy file: rules and role links, and what they are to become.
//!
//! Casbin's lines look like CSV and are not: white space before a quote is left out, and a quote inside a field stands
//! for itself. A CSV reader splits `p, "a, b"` in the wrong place, so the lines are read here.

use super::graph::{self, Link};
use super::model::{Field, Model};
use super::{Policy, fault, fault_of, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::permission::Permission;
use crate::role::MAX_PARENTS;
use crate::text;
use std::collections::{BTreeMap, BTreeSet};

const FILE: &str = "policy";

/// What holds in one domain, or everywhere where there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Empty where there are no domains.
    pub(super) domain: String,
    pub(super) roles: BTreeMap<String, Held>,
    pub(super) users: BTreeMap<String, Held>,
}

/// What a role or a user has in one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Roles that a user is assigned, or that a role inherits from.
    pub(super) roles: BTreeSet<String>,
    /// Places in the list of permissions.
    pub(super) allowed: BTreeSet<usize>,
    pub(super) denied: BTreeSet<usize>,
}

/// A `p` line.
struct Rule<'t> {
    line: usize,
    subject: &'t str,
    domain: &'t str,
    object: &'t str,
    action: &'t str,
    denies: bool,
}

pub(super) fn parse(model: Model, text: &str) -> Result<Policy> {
    let (mut rules, mut links, mut without_effect) = (Vec::new(), Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields = fields(line).map_err(|message| fault(FILE, number, message))?;
        match fields.split_first() {
            Some((&"p", values)) => {
                let rule = rule(&model, number, values)?;
                if rule.denies && !model.heeds_denials {
                    without_effect.push(number);
                } else {
                    rules.push(rule);
                }
            }
            Some((&"g", values)) if model.roles => links.push(link(&model, number, values)?),
            Some((kind, _)) => return Err(fault(FILE, number, unknown(kind, &model))),
            None => {}
        }
    }
    graph::check(&links)?;
    let roles: BTreeSet<&str> = links.iter().map(|link| link.to).collect();
    if model.roles {
        check_patterns(&rules, &links)?;
    }
    let users = check_names(&rules, &links, &roles)?;
    let (permissions, places_of) = permissions(&rules)?;

    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    if !model.domains {
        places.insert("", Place::default());
    }
    for link in &links {
        let held = places.entry(link.domain).or_default().of(link.from, &roles);
        held.roles.insert(link.to.to_owned());
        if roles.contains(link.from) && held.roles.len() > MAX_PARENTS {
            let message = format!(
                "{} inherits from more than {MAX_PARENTS} roles; put a role between",
                shown(link.from)
            );
            return Err(fault_of(ErrorKind::LimitExceeded, FILE, link.line, message));
        }
        places.entry(link.domain).or_default().of(link.to, &roles);
    }
    for rule in &rules {
        let held = places.entry(rule.domain).or_default().of(rule.subject, &roles);
        if let Some(place) = places_of.get(&(rule.object, rule.action)) {
            if rule.denies { &mut held.denied } else { &mut held.allowed }.insert(*place);
        }
    }
    for (domain, place) in &mut places {
        place.domain = (*domain).to_owned();
    }
    Ok(Policy {
        request: model.request,
        permissions,
        users,
        places: places.into_values().collect(),
        without_effect,
    })
}

impl Place {
    fn of(&mut self, name: &str, roles: &BTreeSet<&str>) -> &mut Held {
        let side = if roles.contains(name) { &mut self.roles } else { &mut self.users };
        side.entry(name.to_owned()).or_default()
    }
}

/// The fields of a line; or what is wrong with it. Casbin finds more fields than there seem to be where a quote is not
/// around a whole field.
fn fields(line: &str) -> Result<Vec<&str>, String> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let Some((field, after)) = quoted.split_once('"') else {
                    return Err(format!("the quote in {} does not end on the line", shown(rest)));
                };
                match after.strip_prefix(',') {
                    None if !after.is_empty() => {
                        let message = "after the closing quote comes a comma or the end of the line, not";
                        return Err(format!("{message} {}", shown(after)));
                    }
                    after => (field, after),
                }
            }
            None => {
                let (field, after) =
                    rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
                if field.contains('"') {
                    return Err(format!(
                        "{} has a quote inside; a quote is around a whole field",
                        shown(field)
                    ));
                }
                (field.trim_end(), after)
            }
        };
        if field.is_empty() {
            return Err(format!("field {} is empty", found.len() + 1));
        }
        found.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(found),
        }
    }
}

fn rule<'t>(model: &Model, line: usize, values: &[&'t str]) -> Result<Rule<'t>> {
    let due = &model.rule;
    if values.len() != due.len() {
        let names: Vec<&str> = due.iter().map(|field| field.name()).collect();
        let message = format!(
            "a p line has {} fields after the p ({}), not {}",
            due.len(),
            names.join(", "),
            values.len()
        );
        return Err(fault(FILE, line, message));
    }
    let value = |wanted: Field| {
        let pair = due.iter().zip(values).find(|(field, _)| **field == wanted);
        pair.map_or("", |(_, value)| value)
    };
    let denies = match value(Field::Effect) {
        "deny" => true,
        "allow" | "" => false,
        other => {
            let message = format!("the effect {} is not supported; it is allow or deny", shown(other));
            return Err(fault(FILE, line, message));
        }
    };
    Ok(Rule {
        line,
        subject: value(Field::Subject),
        domain: value(Field::Domain),
        object: value(Field::Object),
        action: value(Field::Action),
        denies,
    })
}

fn link<'t>(model: &Model, line: usize, values: &[&'t str]) -> Result<Link<'t>> {
    let (from, to, domain) = match (model.domains, values) {
        (false, [from, to]) => (*from, *to, ""),
        (true, [from, to, domain]) => (*from, *to, *domain),
        _ => {
            let due = if model.domains {
                "3 fields after the g (who, the role, the domain)"
            } else {
                "2 fields after the g (who, the role)"
            };
            let message = format!("a g line has {due}, not {}", values.len());
            return Err(fault(FILE, line, message));
        }
    };
    Ok(Link { line, from, to, domain })
}

fn unknown(kind: &str, model: &Model) -> String {
    let kind_shown = shown(kind);
    match kind.split_at_checked(1) {
        Some(("g", "")) => format!("{kind_shown}, but the model has no [role_definition]"),
        Some(("g", _)) => {
            format!(
                "{kind_shown} is not supported: roles of objects are scopes here; write a p line for each object"
            )
        }
        Some(("p", _)) => {
            format!("{kind_shown} is not supported: load each definition as a model and a policy of its own")
        }
        _ => {
            let due = if model.roles { "p or g" } else { "p" };
            format!("the line begins with {kind_shown}; a line of this model begins with {due}")
        }
    }
}

/// Refuses names that were written for a matching function, which can be hung on `g` only. Casbin without the function
/// takes them by the letter, with it they stand for many: a denial for all would be one for nobody.
fn check_patterns(rules: &[Rule<'_>], links: &[Link<'_>]) -> Result<()> {
    let of_rules = rules.iter().map(|rule| (rule.line, [rule.subject, rule.domain, ""]));
    let of_links = links.iter().map(|link| (link.line, [link.from, link.to, link.domain]));
    for (line, names) in of_rules.chain(of_links) {
        if let Some(name) = names.into_iter().find(|name| name.contains('*')) {
            let message = format!(
                "{} looks like a pattern; matching functions are not supported: write a line for each name and domain",
                shown(name)
            );
            return Err(fault(FILE, line, message));
        }
    }
    Ok(())
}

/// Checks that every name can be what it is to become. Returns the users.
fn check_names<'t>(rules: &[Rule<'t>], links: &[Link<'t>], roles: &BTreeSet<&'t str>) -> Result<Vec<String>> {
    let from_rules = rules.iter().map(|rule| (rule.subject, rule.domain, rule.line));
    let from_links = links
        .iter()
        .flat_map(|link| [(link.from, link.domain, link.line), (link.to, link.domain, link.line)]);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, domain, line) in from_rules.chain(from_links) {
        for (names, name) in [(&mut first, name), (&mut domains, domain)] {
            names.entry(name).and_modify(|known| *known = line.min(*known)).or_insert(line);
        }
    }
    domains.remove("");
    // By line, so that the first fault of the file is the one that is told.
    let mut names: Vec<(usize, &str)> = first.into_iter().map(|(name, line)| (line, name)).collect();
    names.sort_unstable();
    let (mut logins, mut users): (BTreeMap<String, (usize, &str)>, Vec<String>) = Default::default();
    for (line, name) in names {
        if roles.contains(name) {
            text::name("role", name).map_err(|error| no_name(line, name, "of a role", &error))?;
            continue;
        }
        let login = text::canonical_login(name).map_err(|error| {
            let what = "of a user (nothing has it for a role in a g line)";
            no_name(line, name, what, &error)
        })?;
        if let Some((earlier, twin)) = logins.insert(login, (line, name)) {
            let message = format!(
                "the users {} and {} (line {earlier}) would be one: login names do not differ in case alone",
                shown(name),
                shown(twin)
            );
            return Err(fault(FILE, line, message));
        }
        users.push(name.to_owned());
    }
    let mut domains: Vec<(usize, &str)> = domains.into_iter().map(|(name, line)| (line, name)).collect();
    domains.sort_unstable();
    for (line, name) in domains {
        text::name("scope", name).map_err(|error| no_name(line, name, "of a tenant", &error))?;
        if name.contains('/') {
            let message = format!("{} can not be the name of a tenant: it has a \"/\"", shown(name));
            return Err(fault(FILE, line, message));
        }
    }
    Ok(users)
}

fn no_name(line: usize, name: &str, what: &str, error: &Error) -> Error {
    let full = error.to_string();
    let reason = full.split_once(": ").map_or(full.as_str(), |(_, reason)| reason);
    fault(FILE, line, format!("{} can not be the name {what}: it {reason}", shown(name)))
}

/// Object and action of each permission, and where in that list a pair is.
#[expect(clippy::type_complexity, reason = "a list and its index, once")]
fn permissions<'t>(
    rules: &[Rule<'t>],
) -> Result<(Vec<(String, String)>, BTreeMap<(&'t str, &'t str), usize>)> {
    let (mut list, mut places) = (Vec::new(), BTreeMap::new());
    let mut names: BTreeMap<String, (usize, &str, &str)> = BTreeMap::new();
    for rule in rules {
        let (object, action) = (rule.object, rule.action);
        if places.contains_key(&(object, action)) {
            continue;
        }
        let name = permission_name(object, action);
        text::name("permission", &name)
            .map_err(|error| no_name(rule.line, &name, "of a permission", &error))?;
        if let Some((line, object, action)) = names.insert(name, (rule.line, object, action)) {
            let message = format!(
                "{} with {} makes the same permission as {} with {} (line {line}); rename one of them",
                shown(rule.object),
                shown(rule.action),
                shown(object),
                shown(action)
            );
            return Err(fault(FILE, rule.line, message));
        }
        if list.len() >= Permission::LIMIT as usize {
            let message = format!("there are more than {} pairs of object and action", Permission::LIMIT);
            return Err(fault_of(ErrorKind::LimitExceeded, FILE, rule.line, message));
        }
        places.insert((object, action), list.len());
        list.push((object.to_owned(), action.to_owned()));
    }
    Ok((list, places))
}

/// The permission that an object and an action become.
pub(super) fn permission_name(object: &str, action: &str) -> String {
    format!("{object}:{action}")
}
