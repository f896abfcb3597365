//! From the fields of a line to a newcomer. Every field is looked at, whatever is wrong with another one.

use super::json::Json;
use super::{MAX_ROLES, keycloak, time};
use crate::clock::Timestamp;
use crate::engine::{Newcomer, Newcomers};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RoleId, ScopeId};
use crate::text::canonical_login;
use crate::user::{
    Attributes, ContactKind, MAX_NEW_CONTACTS, NewContact, NewUser, Status, Value, check_attributes,
};
use zeroize::Zeroizing;

/// Most characters of a name that a message repeats.
const MAX_SHOWN: usize = 60;
const FIELDS: &str = "login, emails, phones, password, password_hash, must_change, status, profile, preferences, roles, \
                      home, created";

/// Something wrong with a field of a line.
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) field: String,
    pub(super) what: String,
}

/// What a line was read into. A field that is wrong is not in the newcomer.
pub(super) struct Reading {
    /// The login name in the form in which it is unique, where it is one.
    pub(super) canonical: Option<String>,
    pub(super) newcomer: Newcomer,
    pub(super) faults: Vec<Fault>,
}

struct Reader<'g> {
    newcomers: Newcomers<'g>,
    into: Reading,
}

/// Whether an error is about the line; another one, of the database, ends the import.
pub(super) fn is_of_the_line(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::LimitExceeded
            | ErrorKind::SeparationOfDuty
            | ErrorKind::LastHolder
            | ErrorKind::Mismatch
    )
}

/// An error about the line, without the name of the field that it begins with.
pub(super) fn fault_of(field: &str, error: &Error) -> Fault {
    let text = error.to_string();
    let what = error.field().and_then(|field| text.strip_prefix(field)?.strip_prefix(": "));
    Fault { kind: error.kind(), field: field.to_owned(), what: what.unwrap_or(&text).to_owned() }
}

pub(super) fn read(newcomers: Newcomers<'_>, line: Json) -> Result<Reading> {
    let newcomer = Newcomer { user: NewUser::new(""), roles: Vec::new(), unchecked: None };
    let mut reader = Reader { newcomers, into: Reading { canonical: None, newcomer, faults: Vec::new() } };
    match line {
        Json::Map(fields) => reader.fields(fields)?,
        other => {
            reader.fault("", ErrorKind::InvalidInput, format!("is {}; each line is an object", other.kind()))
        }
    }
    Ok(reader.into)
}

impl Reader<'_> {
    fn fault(&mut self, field: &str, kind: ErrorKind, what: impl Into<String>) {
        self.into.faults.push(Fault { kind, field: field.to_owned(), what: what.into() });
    }

    fn wrong(&mut self, field: &str, what: impl Into<String>) {
        self.fault(field, ErrorKind::InvalidInput, what);
    }

    /// What was found, or notes what is wrong; the database's own errors are passed on.
    fn held<T>(&mut self, field: &str, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_of_the_line(&error) => {
                self.into.faults.push(fault_of(field, &error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn text(&mut self, field: &str, value: Json) -> Option<Zeroizing<String>> {
        match value {
            Json::Text(text) => Some(text),
            other => {
                self.wrong(field, format!("is {}; text is expected", other.kind()));
                None
            }
        }
    }

    fn flag(&mut self, field: &str, value: &Json) -> Option<bool> {
        if let Json::Bool(value) = value {
            return Some(*value);
        }
        self.wrong(field, format!("is {}; true or false is expected", value.kind()));
        None
    }

    fn list(&mut self, field: &str, value: Json) -> Vec<Json> {
        match value {
            Json::List(list) => list,
            other => {
                self.wrong(field, format!("is {}; a list is expected, also of one", other.kind()));
                Vec::new()
            }
        }
    }

    /// The fields of an object, each at most once and none of them null; the others are noted.
    fn once(&mut self, path: &str, fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
        let mut kept: Vec<(String, Json)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            if kept.iter().any(|(other, _)| *other == name) {
                let what = format!("has the field {} twice", shown_name(&name));
                self.wrong(path, what);
            } else {
                kept.push((name, value));
            }
        }
        kept.retain(|(_, value)| !matches!(value, Json::Null));
        kept
    }

    fn fields(&mut self, fields: Vec<(String, Json)>) -> Result<()> {
        let mut login_is_given = false;
        for (name, value) in self.once("", fields) {
            match name.as_str() {
                "login" => {
                    login_is_given = true;
                    self.login(value)?;
                }
                "emails" => self.contacts("emails", "address", ContactKind::Email, value)?,
                "phones" => self.contacts("phones", "number", ContactKind::Phone, value)?,
                "password" => {
                    if let Some(text) = self.text("password", value) {
                        self.into.newcomer.user = self.user().password(text.as_str());
                    }
                }
                "password_hash" => self.hash(value),
                "must_change" => {
                    self.into.newcomer.user.must_change = self.flag("must_change", &value).unwrap_or(false);
                }
                "status" => self.status(value)?,
                "profile" => self.into.newcomer.user.profile = self.attributes("profile", value)?,
                "preferences" => {
                    self.into.newcomer.user.preferences = self.attributes("preferences", value)?
                }
                "roles" => self.roles(value)?,
                "home" => {
                    if let Some(home) = self.scope("home", value)? {
                        self.into.newcomer.user.home = home;
                    }
                }
                "created" => self.created(value),
                _ => self.wrong(
                    "",
                    format!("has the unknown field {}; the fields are {FIELDS}", shown_name(&name)),
                ),
            }
        }
        if !login_is_given {
            self.wrong("login", "is missing");
        }
        let contacts = self.into.newcomer.user.contacts.len();
        if contacts > MAX_NEW_CONTACTS {
            self.fault(
                "emails",
                ErrorKind::LimitExceeded,
                format!(
                    "and phones are {contacts}; a new user takes {MAX_NEW_CONTACTS}, add the others later"
                ),
            );
            self.into.newcomer.user.contacts.truncate(MAX_NEW_CONTACTS);
        }
        self.secret()
    }

    /// The user so far, to be given back.
    fn user(&mut self) -> NewUser {
        std::mem::replace(&mut self.into.newcomer.user, NewUser::new(""))
    }

    fn login(&mut self, value: Json) -> Result<()> {
        if let Some(login) = self.text("login", value)
            && let Some(canonical) = self.held("login", canonical_login(&login))?
        {
            self.into.newcomer.user.login = login.to_string();
            self.into.canonical = Some(canonical);
        }
        Ok(())
    }

    fn contacts(&mut self, field: &'static str, name: &str, kind: ContactKind, value: Json) -> Result<()> {
        for (place, item) in self.list(field, value).into_iter().enumerate() {
            let path = format!("{field}[{}]", place + 1);
            let mut contact = NewContact::of(kind, "");
            match item {
                Json::Text(text) => contact.value = text.to_string(),
                Json::Map(fields) => {
                    let before = self.into.faults.len();
                    let mut given = false;
                    for (key, value) in self.once(&path, fields) {
                        let path = format!("{path}.{}", if known(&key, name) { key.as_str() } else { "" });
                        match key.as_str() {
                            _ if key == name => {
                                given = true;
                                contact.value =
                                    self.text(&path, value).as_deref().cloned().unwrap_or_default();
                            }
                            "label" => {
                                contact.label =
                                    self.text(&path, value).as_deref().cloned().unwrap_or_default();
                            }
                            "verified" => contact.verified = self.flag(&path, &value).unwrap_or(false),
                            _ => self.wrong(
                                path.trim_end_matches('.'),
                                format!("has an unknown field; they are {name}, label and verified"),
                            ),
                        }
                    }
                    if !given {
                        self.wrong(&path, format!("has no {name}"));
                    }
                    if self.into.faults.len() > before {
                        continue;
                    }
                }
                other => {
                    self.wrong(&path, format!("is {}; text or an object is expected", other.kind()));
                    continue;
                }
            }
            if self.held(&path, contact.check())?.is_some() {
                self.into.newcomer.user.contacts.push(contact);
            }
        }
        Ok(())
    }

    fn hash(&mut self, value: Json) {
        let stored = match value {
            Json::Text(text) => Some(text),
            Json::Map(credential) => keycloak::stored(&credential),
            _ => None,
        };
        match stored {
            Some(stored) => self.into.newcomer.user = self.user().password_hash(stored.as_str()),
            None => self.wrong(
                "password_hash",
                "is neither text nor a credential of Keycloak's with secretData and credentialData",
            ),
        }
    }

    /// The password, the hash and whether it has to change, which depend on each other.
    fn secret(&mut self) -> Result<()> {
        let checked = self.newcomers.check_secret(&self.into.newcomer.user);
        if let Err(error) = checked {
            let field = match error.field() {
                Some("must_change") => "must_change",
                _ if self.into.newcomer.user.password_hash.is_some() => "password_hash",
                _ => "password",
            };
            self.held(field, Err::<(), _>(error))?;
            let user = &mut self.into.newcomer.user;
            (user.password, user.password_hash, user.must_change) = (None, None, false);
        }
        Ok(())
    }

    fn status(&mut self, value: Json) -> Result<()> {
        let (mut kind, mut reason, mut until) = (None, None, None);
        let before = self.into.faults.len();
        match value {
            Json::Text(text) => kind = Some(text),
            Json::Map(fields) => {
                for (name, value) in self.once("status", fields) {
                    match name.as_str() {
                        "kind" => kind = self.text("status.kind", value),
                        "reason" => reason = self.text("status.reason", value),
                        "until" => until = self.instant("status.until", value),
                        _ => self.wrong("status", "has an unknown field; they are kind, reason and until"),
                    }
                }
            }
            other => self.wrong("status", format!("is {}; text or an object is expected", other.kind())),
        }
        if self.into.faults.len() > before {
            return Ok(());
        }
        let mut status = match kind.as_ref().map(|kind| kind.as_str()) {
            Some("active") => Status::active(),
            Some("pending") => Status::pending(),
            Some("disabled") => Status::disabled(""),
            Some("locked") => Status::locked(""),
            _ => {
                self.wrong("status", "is none of active, pending, disabled and locked");
                return Ok(());
            }
        };
        status.reason = reason.map(|reason| reason.to_string());
        status.until = until;
        if self.held("status", status.check())?.is_some() {
            self.into.newcomer.user.status = status;
        }
        Ok(())
    }

    fn attributes(&mut self, field: &'static str, value: Json) -> Result<Attributes> {
        let Json::Map(fields) = value else {
            self.wrong(field, format!("is {}; an object is expected", value.kind()));
            return Ok(Attributes::new());
        };
        let mut values = Attributes::new();
        for (name, value) in self.once(field, fields) {
            let value = match value {
                Json::Bool(value) => Value::Bool(value),
                Json::Integer(value) => Value::Integer(value),
                Json::Text(value) => Value::Text(value.to_string()),
                Json::Map(time) => match self.time(field, time) {
                    Some(time) => Value::Time(time),
                    None => continue,
                },
                other => {
                    let what = format!(
                        "has {} as the value of {}; text, a whole number of 64 bits, true, false and {{\"time\": \
                         \"...\"}} are kept",
                        other.kind(),
                        shown_name(&name)
                    );
                    self.wrong(field, what);
                    continue;
                }
            };
            values.insert(name, value);
        }
        Ok(match self.held(field, check_attributes(field, &values))? {
            Some(()) => values,
            None => Attributes::new(),
        })
    }

    /// The instant of `{"time": "..."}`.
    fn time(&mut self, field: &str, value: Vec<(String, Json)>) -> Option<Timestamp> {
        let mut fields = value.into_iter();
        match (fields.next(), fields.next()) {
            (Some((name, value)), None) if name == "time" => self.instant(field, value),
            _ => {
                self.wrong(
                    field,
                    "has an object that is not of the form {\"time\": \"2024-03-01T12:00:00Z\"}",
                );
                None
            }
        }
    }

    fn instant(&mut self, field: &str, value: Json) -> Option<Timestamp> {
        let found = time::parse(&self.text(field, value)?);
        if found.is_none() {
            self.wrong(field, "is no instant of RFC 3339 in UTC, such as 2024-03-01T12:00:00Z");
        }
        found
    }

    fn created(&mut self, value: Json) {
        let Some(created) = self.instant("created", value) else { return };
        let now = self.newcomers.now();
        if created > now {
            self.wrong("created", format!("is yet to come; it is {now}"));
        } else {
            self.into.newcomer.user.created = Some(created);
        }
    }

    fn scope(&mut self, field: &str, value: Json) -> Result<Option<ScopeId>> {
        let Some(path) = self.text(field, value) else { return Ok(None) };
        match self.held(field, self.newcomers.scope(&path))? {
            Some(None) => {
                self.fault(
                    field,
                    ErrorKind::NotFound,
                    format!("names the scope {}, which does not exist", shown(&path)),
                );
                Ok(None)
            }
            found => Ok(found.flatten()),
        }
    }

    fn roles(&mut self, value: Json) -> Result<()> {
        let list = self.list("roles", value);
        if list.len() > MAX_ROLES {
            let what = format!("are {}; a line takes {MAX_ROLES}, assign the others later", list.len());
            self.fault("roles", ErrorKind::LimitExceeded, what);
            return Ok(());
        }
        for (place, item) in list.into_iter().enumerate() {
            let path = format!("roles[{}]", place + 1);
            let (mut role, mut at) = (None, Some(ScopeId::ROOT));
            match item {
                Json::Text(name) => role = Some(name),
                Json::Map(fields) => {
                    for (name, value) in self.once(&path, fields) {
                        match name.as_str() {
                            "role" => role = self.text(&path, value),
                            "scope" => at = self.scope(&path, value)?,
                            _ => self.wrong(&path, "has an unknown field; they are role and scope"),
                        }
                    }
                    if role.is_none() {
                        self.wrong(&path, "has no role");
                    }
                }
                other => self.wrong(&path, format!("is {}; text or an object is expected", other.kind())),
            }
            if let (Some(role), Some(at)) = (role, at) {
                self.role(&path, &role, at)?;
            }
        }
        Ok(())
    }

    fn role(&mut self, path: &str, name: &str, at: ScopeId) -> Result<()> {
        let found: Option<Option<RoleId>> = self.held(path, self.newcomers.role(name, at))?;
        match found {
            Some(Some(role)) if self.into.newcomer.roles.contains(&(role, at)) => {
                self.fault(
                    path,
                    ErrorKind::AlreadyExists,
                    format!("gives the role {} there twice", shown(name)),
                );
            }
            Some(Some(role)) => self.into.newcomer.roles.push((role, at)),
            Some(None) => {
                let what =
                    format!("names the role {}, which does not exist there; create it first", shown(name));
                self.fault(path, ErrorKind::NotFound, what);
            }
            None => {}
        }
        Ok(())
    }
}

fn known(key: &str, name: &str) -> bool {
    key == name || matches!(key, "label" | "verified")
}

/// Text from a line for a person to read: quoted, without control characters, and not too long.
fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    for (number, c) in text.chars().enumerate() {
        if number == MAX_SHOWN {
            out.push_str("...");
            break;
        }
        out.extend(c.escape_debug());
    }
    out.push('"');
    out
}

/// A field's name. One that looks like none may be a value, and a secret, that got into the wrong place.
fn shown_name(name: &str) -> String {
    let plain = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if plain { format!("\"{name}\"") } else { "of an unusual name".to_owned() }
}
