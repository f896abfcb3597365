//! The model file: Casbin's own kind of INI, and the definitions that portcullis can follow.
//!
//! Casbin's reader is its own: a line that ends in a backslash goes on in the next one, only `=` parts a key from its
//! value, and a value ends at `#`. No INI crate reads that and keeps the lines, so it is read here.

use super::{fault, shown};
use crate::error::{Error, Result};

const FILE: &str = "model";

/// A field of a request or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Subject,
    Domain,
    Object,
    Action,
    Effect,
}

impl Field {
    const ALL: [Self; 5] = [Self::Subject, Self::Domain, Self::Object, Self::Action, Self::Effect];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Domain => "dom",
            Self::Object => "obj",
            Self::Action => "act",
            Self::Effect => "eft",
        }
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// What a policy is read and decided by.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) request: Vec<Field>,
    pub(super) rule: Vec<Field>,
    /// Whether there are roles: the matcher asks `g`.
    pub(super) roles: bool,
    pub(super) domains: bool,
    /// Whether a rule that denies changes a decision.
    pub(super) heeds_denials: bool,
}

impl Model {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let [request, rule, roles, effect, matcher] = read(text)?;
        let (request_at, rule_at) = (needed(request, 0)?, needed(rule, 1)?);
        let request = fields(&request_at)?;
        if request.contains(&Field::Effect) {
            return Err(request_at.fault("a request has no `eft`; that is a field of rules"));
        }
        let rule = fields(&rule_at)?;
        let domains = request.contains(&Field::Domain);
        if rule.contains(&Field::Domain) != domains {
            return Err(rule_at.fault("`dom` is in `r` and `p`, or in neither"));
        }
        if let Some(roles) = &roles {
            check_role_definition(roles, domains)?;
        }
        let effect = needed(effect, 3)?;
        let heeds_denials = effect_heeds_denials(&effect)?;
        check_matcher(&needed(matcher, 4)?, roles.as_ref(), domains)?;
        Ok(Self { request, rule, roles: roles.is_some(), domains, heeds_denials })
    }
}

/// Sections with the one key of each, and what the key defines.
const SECTIONS: [(&str, &str, &str); 5] = [
    ("request_definition", "r", "a request"),
    ("policy_definition", "p", "a rule"),
    ("role_definition", "g", "roles"),
    ("policy_effect", "e", "the effect"),
    ("matchers", "m", "the matcher"),
];

/// A definition: its text, that may have stood on several lines.
#[derive(Clone, Debug)]
struct Definition {
    /// All of it, with the key.
    text: String,
    /// Where in the text each line of the file begins, and the line's number.
    lines: Vec<(usize, usize)>,
}

impl Definition {
    fn value(&self) -> &str {
        self.text.split_once('=').map_or("", |(_, value)| value.trim_start())
    }

    fn line(&self) -> usize {
        self.line_at(usize::MAX)
    }

    /// The line of the file in which the last so many bytes of the text begin.
    fn line_at(&self, bytes_to_end: usize) -> usize {
        let place = self.text.len().saturating_sub(bytes_to_end);
        let line = self.lines.iter().rev().find(|(start, _)| *start <= place);
        line.or_else(|| self.lines.first()).map_or(0, |(_, line)| *line)
    }

    fn fault(&self, message: impl std::fmt::Display) -> Error {
        fault(FILE, self.line(), message)
    }
}

fn needed(definition: Option<Definition>, section: usize) -> Result<Definition> {
    definition.ok_or_else(|| {
        let (section, key, what) = SECTIONS.get(section).copied().unwrap_or_default();
        Error::invalid(FILE, format!("has no `{key}` in [{section}], which defines {what}"))
    })
}

/// The definitions, in the order of `SECTIONS`.
fn read(text: &str) -> Result<[Option<Definition>; 5]> {
    let mut found: [Option<Definition>; 5] = Default::default();
    let mut section: Option<usize> = None;
    let mut lines = (1..).zip(text.lines().map(str::trim)).peekable();
    while let Some((number, line)) = lines.next() {
        if is_left_out(line) {
            continue;
        }
        if let Some(name) = header(line) {
            section = SECTIONS.iter().position(|(known, ..)| *known == name);
            if section.is_none() {
                let message = format!(
                    "the section {} is not supported; there are {}",
                    shown(name),
                    SECTIONS.map(|(name, ..)| format!("[{name}]")).join(", ")
                );
                return Err(fault(FILE, number, message));
            }
            continue;
        }
        let mut definition = Definition { text: line.to_owned(), lines: vec![(0, number)] };
        while let Some(before) = definition.text.strip_suffix('\\') {
            let length = before.trim_end().len();
            definition.text.truncate(length);
            let Some((number, next)) =
                lines.next_if(|(_, next)| !is_left_out(next) && header(next).is_none())
            else {
                break;
            };
            definition.lines.push((definition.text.len(), number));
            definition.text.push_str(next);
        }
        let length = definition.text.split('#').next().unwrap_or_default().trim_end().len();
        definition.text.truncate(length);
        let (place, slot) = place(&definition, section, &mut found)?;
        if let Some(earlier) = slot {
            let key = SECTIONS.get(place).map_or("", |(_, key, _)| key);
            let message = format!("`{key}` is defined in line {} already", earlier.line());
            return Err(definition.fault(message));
        }
        *slot = Some(definition);
    }
    Ok(found)
}

fn is_left_out(line: &str) -> bool {
    line.is_empty() || line.starts_with(['#', ';'])
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// Where a definition belongs.
fn place<'a>(
    definition: &Definition,
    section: Option<usize>,
    found: &'a mut [Option<Definition>; 5],
) -> Result<(usize, &'a mut Option<Definition>)> {
    let Some((key, value)) = definition.text.split_once('=') else {
        let message = format!("{} is neither a section nor `key = value`", shown(&definition.text));
        return Err(definition.fault(message));
    };
    let key = key.trim();
    let known = section.and_then(|section| Some((section, SECTIONS.get(section)?)));
    let Some((place, (name, due, what))) = known else {
        return Err(definition.fault(format!("{} stands before every section", shown(key))));
    };
    if key != *due {
        let advice = match key.strip_prefix(due) {
            Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                advice_on(key)
            }
            _ => "Casbin takes no notice of it",
        };
        let message = format!("{} in [{name}] is not supported, only `{due}` is: {advice}", shown(key));
        return Err(definition.fault(message));
    }
    if value.trim().is_empty() {
        return Err(definition.fault(format!("`{key}`, which defines {what}, is empty")));
    }
    let slot = found.get_mut(place).ok_or_else(|| definition.fault("has no place"))?;
    Ok((place, slot))
}

/// The fields of `r` or `p`.
fn fields(definition: &Definition) -> Result<Vec<Field>> {
    let mut found: Vec<Field> = Vec::new();
    for name in definition.value().split(',').map(str::trim) {
        let Some(field) = Field::find(name) else {
            let message = format!(
                "the field {} is not supported; there are `sub`, `dom`, `obj` and `act`, and `eft` in `p`: give it \
                 that name if it means that",
                shown(name)
            );
            return Err(definition.fault(message));
        };
        if found.contains(&field) {
            return Err(definition.fault(format!("the field `{name}` is there twice")));
        }
        found.push(field);
    }
    for field in [Field::Subject, Field::Object, Field::Action] {
        if !found.contains(&field) {
            let message =
                format!("there is no field `{}`; a permission needs an object and an action", field.name());
            return Err(definition.fault(message));
        }
    }
    Ok(found)
}

fn check_role_definition(definition: &Definition, domains: bool) -> Result<()> {
    let parts: Vec<&str> = definition.value().split(',').map(str::trim).collect();
    let due = if domains { "_, _, _" } else { "_, _" };
    if parts.len() == due.split(',').count() && parts.iter().all(|part| *part == "_") {
        return Ok(());
    }
    let why = if domains { "since requests have a `dom`" } else { "since requests have no `dom`" };
    let message = format!(
        "the roles {} are not supported; they must be `{due}`, {why}: conditions on a link can become the beginning \
         and end of an assignment",
        shown(definition.value())
    );
    Err(definition.fault(message))
}

fn effect_heeds_denials(definition: &Definition) -> Result<bool> {
    const ALLOW: &str = "some(where (p.eft == allow))";
    const ALLOW_AND_NOT_DENY: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";
    let words = |text| tokens(text).map(|(token, _)| token).collect::<Vec<_>>();
    let found = words(definition.value());
    if found == words(ALLOW) {
        return Ok(false);
    }
    if found == words(ALLOW_AND_NOT_DENY) {
        return Ok(true);
    }
    let message = format!(
        "the effect {} is not supported; `{ALLOW}` and `{ALLOW_AND_NOT_DENY}` are: nothing is allowed here that nobody \
         granted, and a denial wins in whatever order rules stand",
        shown(definition.value())
    );
    Err(definition.fault(message))
}

/// Words with their dots, operators, and single characters, each with the number of bytes from its start to the end.
fn tokens(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if ["&&", "||", "==", "!=", "<=", ">="].iter().any(|operator| rest.starts_with(operator)) {
            2
        } else {
            first.len_utf8()
        };
        let start = rest.len();
        let (token, after) = rest.split_at_checked(length)?;
        rest = after;
        Some((token, start))
    })
}

/// Checks that the matcher is `&&` between one comparison for each field, which is how portcullis decides.
fn check_matcher(definition: &Definition, roles: Option<&Definition>, domains: bool) -> Result<()> {
    let mut tokens = tokens(definition.value());
    let (mut open, mut compared, mut by_roles) = (0usize, Vec::new(), false);
    let mut term_is_due = true;
    while let Some((token, at)) = tokens.next() {
        let line = definition.line_at(at);
        match (term_is_due, token) {
            (true, "(") => open += 1,
            (false, ")") if open > 0 => open -= 1,
            (false, "&&") => term_is_due = true,
            (true, first) => {
                let field = if first == "g" {
                    by_roles = true;
                    membership(&mut tokens, domains).map(|()| Field::Subject)
                } else {
                    comparison(first, &mut tokens)
                };
                let field = field.map_err(|wrong| refused(line, wrong))?;
                if compared.contains(&field) {
                    let message = format!("the matcher compares `{}` twice", field.name());
                    return Err(fault(FILE, line, message));
                }
                compared.push(field);
                term_is_due = false;
            }
            (false, other) => return Err(refused(line, other)),
        }
    }
    if term_is_due || open > 0 {
        return Err(fault(FILE, definition.line_at(0), "the matcher ends too early"));
    }
    for field in [Field::Subject, Field::Domain, Field::Object, Field::Action] {
        if !compared.contains(&field) && (field != Field::Domain || domains) {
            let name = field.name();
            let message = format!("the matcher does not compare `r.{name}` with `p.{name}`");
            return Err(definition.fault(message));
        }
    }
    match roles {
        Some(roles) if !by_roles => {
            Err(roles.fault("the model defines roles, but its matcher does not ask `g(r.sub, p.sub)`"))
        }
        None if by_roles => {
            Err(definition.fault("the matcher asks `g`, but the model has no [role_definition]"))
        }
        _ => Ok(()),
    }
}

/// `r.obj == p.obj`, either way round, of which the first word was read; or the token that is wrong in it.
fn comparison<'t>(
    first: &'t str,
    tokens: &mut impl Iterator<Item = (&'t str, usize)>,
) -> Result<Field, &'t str> {
    let side = |word: &'t str| {
        let (owner, name) = word.split_once('.').ok_or(word)?;
        let field = Field::find(name).filter(|field| *field != Field::Effect).ok_or(word)?;
        if owner == "r" || owner == "p" { Ok((owner, field)) } else { Err(word) }
    };
    let (owner, field) = side(first)?;
    expect(tokens, "==")?;
    let second = tokens.next().map_or("", |(token, _)| token);
    let (other, same) = side(second)?;
    if other == owner || same != field { Err(second) } else { Ok(field) }
}

/// What follows `g`: `(r.sub, p.sub)`, with the domain where there are domains; or the token that is wrong in it.
fn membership<'t>(tokens: &mut impl Iterator<Item = (&'t str, usize)>, domains: bool) -> Result<(), &'t str> {
    for due in ["(", "r.sub", ",", "p.sub"] {
        expect(tokens, due)?;
    }
    if domains {
        expect(tokens, ",")?;
        // The two are equal where the rest of the matcher holds.
        let domain = tokens.next().map_or("", |(token, _)| token);
        if domain != "r.dom" && domain != "p.dom" {
            return Err(domain);
        }
    }
    expect(tokens, ")")
}

fn expect<'t>(tokens: &mut impl Iterator<Item = (&'t str, usize)>, due: &str) -> Result<(), &'t str> {
    match tokens.next() {
        Some((token, _)) if token == due => Ok(()),
        Some((token, _)) => Err(token),
        None => Err(""),
    }
}

fn refused(line: usize, token: &str) -> Error {
    if token.is_empty() {
        return fault(FILE, line, "the matcher ends too early");
    }
    let message = format!("{} in the matcher is not supported: {}", shown(token), advice_on(token));
    fault(FILE, line, message)
}

/// What to do about a word of a model that is not taken.
fn advice_on(token: &str) -> &'static str {
    let (name, number) = token.split_at_checked(1).unwrap_or((token, ""));
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match (name, token) {
        (_, "||") => {
            "one request is decided by one rule; write the alternatives as p lines, and give a superuser a role that \
             has every permission"
        }
        ("g", _) if numbered => "roles of objects are scopes in portcullis; write a p line for each object",
        ("r" | "p" | "e" | "m", _) if numbered => "load each definition as a model and a policy of its own",
        (_, "!" | "!=" | "<" | ">" | "<=" | ">=" | "in") => "fields are compared with `==` only",
        (_, "\"" | "'") => {
            "fields are compared with fields, not with constants; give a superuser a role instead"
        }
        (_, "eval") => "rules that are computed have no place here; write out what they allow",
        _ if token.to_ascii_lowercase().contains("match") || token.starts_with("keyGet") => {
            "names are compared whole; write a p line for each, or put resources into scopes"
        }
        _ if token.matches('.').count() > 1 => "attributes are not known here; write out what they allow",
        _ => {
            "it takes `g(r.sub, p.sub)` and `==` between the same field of `r` and `p`, with `&&` between them and one \
             for each field"
        }
    }
}
