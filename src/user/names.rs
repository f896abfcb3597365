//! Who has a name or an address, and what a name can be taken for: decided from rows that the commit expects.
//!
//! Names and verified addresses are one space: nobody may take a login name that is another's verified address, or verify
//! an address that is another's login name. So of two such changes at once each expects what the other one writes.

use super::record::{ContactRecord, USER_BY_ALIAS, USER_BY_LOGIN, USER_BY_VERIFIED_EMAIL, UserRecord};
use crate::error::{Error, Result};
use crate::id::{Key, UserId};
use crate::store::{self, Batch, Expect, Scan, Store, Stored, Table};
use crate::text;

/// What becomes of a login name that looks like another user's: the same but for characters that are easily taken for each
/// other, such as a Cyrillic а for a Latin a (UTS 39, section 4).
///
/// Characters of ASCII stand for themselves: `bam` and `barn` are two names, and so are `user1` and `userl`. What they
/// look like depends on the typeface, people know of it, and many of them are real names. A name with any other character
/// is compared with all names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfusableNames {
    /// Nothing is compared.
    Off,
    /// It is taken, and a record of the kind [`NameConfusable`](crate::AuditKind::NameConfusable) names both users.
    Warn,
    /// It is refused as one that exists already. Names that were taken before, under another setting, stay.
    #[default]
    Refuse,
}

/// Whether the local part of an e-mail address, before the @, is compared by case.
///
/// It decides what finds a user and logs in. That no two users have the same verified address is decided without regard
/// to case under both, so that a database may be opened with the one and later with the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailLocalPart {
    /// `Ada@example.org` and `ada@example.org` are one address, as nearly every mail server has it and people expect.
    #[default]
    CaseInsensitive,
    /// They are two, as RFC 5321 (section 2.4) leaves it to the server.
    CaseSensitive,
}

/// How names and addresses are compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NameRules {
    pub(crate) confusable: ConfusableNames,
    pub(crate) local_part: EmailLocalPart,
}

/// Tells apart what is in the table of aliases.
const ADDRESS: u8 = 1;
const LOOK: u8 = 2;

/// The key under which a name that is an e-mail address is found by that address.
pub(super) fn address_key(address: &str) -> Vec<u8> {
    [&[ADDRESS], store::index_prefix(address).as_slice()].concat()
}

/// Whether a key of the table of aliases is an address.
#[cfg(feature = "import")]
pub(crate) fn is_address(table: Table, key: &[u8]) -> bool {
    table == USER_BY_ALIAS && key.first() == Some(&ADDRESS)
}

/// A look as it is stored: enough of its digest to tell any two apart, so that rows are short however long it is.
pub(super) type Look = [u8; 16];

fn digest(look: &str) -> Look {
    let (digest, mut short) = (blake3::hash(look.as_bytes()), Look::default());
    short.copy_from_slice(digest.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
    short
}

/// The key of the one user who holds a look, and of the rows of all users who have it.
pub(super) fn look_key(look: &Look) -> Vec<u8> {
    [&[LOOK], look.as_slice()].concat()
}

/// A login name, and all that it can be taken for.
pub(super) struct Name {
    pub(super) canonical: String,
    pub(super) looks: Vec<Look>,
    pub(super) addresses: Vec<String>,
    /// The looks in words.
    looks_like: Vec<String>,
}

impl Name {
    pub(super) fn of(login: &str) -> Result<Self> {
        let canonical = text::canonical_login(login)?;
        let looks_like = text::looks_of_login(login, &canonical);
        let looks = looks_like.iter().map(|look| digest(look)).collect();
        let mut addresses: Vec<String> = Vec::new();
        for form in [login, &canonical] {
            let address = text::email(form).map(|email| email.found).ok();
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        Ok(Self { canonical, looks, addresses, looks_like })
    }

    /// Whether the looks are the user's alone, who can be taken for nobody: their rows are unique then, so that of two who
    /// would look alike at the same moment the later one is planned again.
    pub(super) fn holds_looks(&self, like: Option<UserId>, rules: NameRules) -> bool {
        rules.confusable != ConfusableNames::Off && like.is_none() && !self.looks.is_empty()
    }

    /// Stages what the commit must expect for a user to take the name, and returns whom it could be taken for where that
    /// is no reason to refuse it. The rows of the name itself are the indexes of the user's record.
    pub(super) fn stage(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        user: UserId,
        login: &str,
        rules: NameRules,
    ) -> Result<Option<UserId>> {
        let row = store::index_prefix(&self.canonical);
        match holder(store, batch, USER_BY_LOGIN, &row)? {
            Some(other) if other != user => {
                let (canonical, twice) = (&self.canonical, batch.staged(USER_BY_LOGIN, &row).is_some());
                return Err(Error::exists(
                    "login",
                    if twice {
                        format!("\"{login}\" is given twice")
                    } else {
                        format!("\"{login}\" is taken (its canonical form is \"{canonical}\")")
                    },
                ));
            }
            _ => {}
        }
        for address in &self.addresses {
            let taken = |whose: &str| Error::exists("login", format!("\"{login}\" is {whose} another user"));
            if holder(store, batch, USER_BY_ALIAS, &address_key(address))?.is_some_and(|other| other != user)
            {
                return Err(taken("the same address as the login name of"));
            }
            match Verifier::of(store, batch, address)? {
                Verifier::Nobody => {
                    let key = store::index_prefix(address);
                    batch.expect(USER_BY_VERIFIED_EMAIL, key, Expect::Absent);
                }
                Verifier::Deleted(contact) => batch.remove(&contact),
                Verifier::User(other, _) if other == user => {}
                Verifier::User(..) => return Err(taken("the verified e-mail address of")),
            }
        }
        self.stage_looks(store, batch, user, login, rules.confusable)
    }

    fn stage_looks(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        user: UserId,
        login: &str,
        policy: ConfusableNames,
    ) -> Result<Option<UserId>> {
        if policy == ConfusableNames::Off {
            return Ok(None);
        }
        let mut found: Option<(UserId, &str)> = None;
        // Who is called what this name looks like.
        for look in &self.looks_like {
            let key = store::index_prefix(look);
            match holder(store, batch, USER_BY_LOGIN, &key)? {
                Some(other) if other != user => found = found.or(Some((other, look))),
                Some(_) => {}
                None => batch.expect(USER_BY_LOGIN, key, Expect::Absent),
            }
        }
        // Who looks like this name.
        let own = digest(&self.canonical);
        for (look, words) in self
            .looks
            .iter()
            .zip(self.looks_like.iter().map(String::as_str))
            .chain([(&own, self.canonical.as_str())])
        {
            let key = look_key(look);
            let others =
                [holder(store, batch, USER_BY_ALIAS, &key)?, seen_by_other(store, batch, &key, user)?];
            let other = others.into_iter().flatten().find(|other| *other != user);
            found = found.or_else(|| other.map(|other| (other, words)));
            if *look == own && others.iter().all(Option::is_none) {
                batch.expect(USER_BY_ALIAS, key, Expect::Absent);
            }
        }
        match found {
            Some((_, look)) if policy == ConfusableNames::Refuse => Err(Error::exists(
                "login",
                format!("\"{login}\" looks like another user's name (\"{look}\"); use letters of one script"),
            )),
            found => Ok(found.map(|(other, _)| other)),
        }
    }
}

/// Whose row it is, in the store or of this batch.
fn holder(store: &dyn Store, batch: &Batch, table: Table, key: &[u8]) -> Result<Option<UserId>> {
    match batch.staged(table, key) {
        Some(value) => UserId::read(value).map(Some),
        None => store.get(table, key)?.map(|row| UserId::read(&row.value)).transpose(),
    }
}

/// Another user who has the look, whether or not somebody holds it: rows with the user's number behind the look.
fn seen_by_other(store: &dyn Store, batch: &Batch, look: &[u8], user: UserId) -> Result<Option<UserId>> {
    // One's own two rows and one more.
    let scan = Scan { prefix: look, limit: 3, ..Scan::default() };
    let rows = store.scan(USER_BY_ALIAS, &scan)?;
    let stored = rows.iter().map(|row| row.value.as_slice());
    for value in stored.chain(batch.staged_under(USER_BY_ALIAS, look)) {
        let other = UserId::read(value)?;
        if other != user {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Who has verified an address.
pub(super) enum Verifier {
    Nobody,
    User(UserId, Option<Stored<ContactRecord>>),
    /// One who is deleted: whoever takes the address removes this contact, which is still to be swept.
    Deleted(Stored<ContactRecord>),
}

impl Verifier {
    pub(super) fn of(store: &dyn Store, batch: &Batch, address: &str) -> Result<Self> {
        let key = store::index_prefix(address);
        if let Some(value) = batch.staged(USER_BY_VERIFIED_EMAIL, &key) {
            return UserId::read(value.get(..8).unwrap_or_default()).map(|user| Self::User(user, None));
        }
        let Some(contact) = store::find::<ContactRecord>(store, USER_BY_VERIFIED_EMAIL, &key)? else {
            return Ok(Self::Nobody);
        };
        let user = contact.record.user;
        Ok(match store::read::<UserRecord>(store, &user)? {
            Some(_) => Self::User(user, Some(contact)),
            // Numbers are never reused: who is gone does not come back.
            None => Self::Deleted(contact),
        })
    }
}

/// Stages what the commit must expect for a contact of a user to be the verified one of its address.
pub(super) fn stage_verified(
    store: &dyn Store,
    batch: &mut Batch,
    contact: &ContactRecord,
    address: &str,
) -> Result<()> {
    let user = contact.user;
    let taken = |whose: &str| Error::exists("email", format!("{address} is {whose}"));
    match Verifier::of(store, batch, address)? {
        Verifier::Nobody => {}
        Verifier::Deleted(stale) => batch.remove(&stale),
        Verifier::User(other, _) if other != user => {
            return Err(taken("verified as the address of another user"));
        }
        Verifier::User(_, Some(same)) if same.record.id == contact.id => {}
        Verifier::User(..) => return Err(taken("verified already, as another contact of the same user")),
    }
    let key = address_key(address);
    match holder(store, batch, USER_BY_ALIAS, &key)? {
        None => batch.expect(USER_BY_ALIAS, key, Expect::Absent),
        Some(other) if other == user => {}
        Some(_) => return Err(taken("the login name of another user")),
    }
    Ok(())
}

/// The user who has verified an address, if anybody has.
pub(crate) fn find_by_verified_email(
    store: &dyn Store,
    address: &str,
    rules: NameRules,
) -> Result<Option<Stored<UserRecord>>> {
    match find_verified_email(store, address, rules)? {
        Some(contact) => store::read(store, &contact.record.user),
        None => Ok(None),
    }
}

/// The contact by which somebody has verified an address, if anybody has.
pub(crate) fn find_verified_email(
    store: &dyn Store,
    address: &str,
    rules: NameRules,
) -> Result<Option<Stored<ContactRecord>>> {
    let Ok(email) = text::email(address) else { return Ok(None) };
    let key = store::index_prefix(&email.found);
    let contact = store::find::<ContactRecord>(store, USER_BY_VERIFIED_EMAIL, &key)?;
    Ok(contact.filter(|contact| is_meant(&contact.record, &email, rules)))
}

/// Whether a contact that is found by an address is meant by it, or only one that differs in case.
pub(crate) fn is_meant(contact: &ContactRecord, email: &text::Email, rules: NameRules) -> bool {
    match rules.local_part {
        EmailLocalPart::CaseInsensitive => true,
        EmailLocalPart::CaseSensitive => {
            text::email(&contact.value).is_ok_and(|kept| kept.exact == email.exact)
        }
    }
}
