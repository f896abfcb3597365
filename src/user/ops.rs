//! Stages changes to users. Every function that changes anything of a user writes the user's row, so that its stamp
//! covers all of it.

use super::names::{Name, NameRules, stage_verified};
use super::record::LAST_GENERATION;
use super::record::{AttributesRecord, ContactRecord, Section, UserRecord};
use super::{Attributes, NewContact, NewUser, Status, UserChange, check_attributes};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ContactId, Stamp, UserId};
use crate::store::{self, Batch, Store, Stored};

/// Contacts that can be given with a new user; more are added one by one.
pub(crate) const MAX_NEW_CONTACTS: usize = 16;

/// The user's row, or that there is no such user.
pub(crate) fn read_user(store: &dyn Store, id: UserId) -> Result<Stored<UserRecord>> {
    store::read(store, &id)?.ok_or_else(|| Error::not_found("user", id))
}

/// Stages a new user with its contacts and maps, and tells whom its name could be taken for.
pub(crate) fn stage_create(
    store: &dyn Store,
    batch: &mut Batch,
    id: UserId,
    new: &NewUser,
    now: Timestamp,
    rules: NameRules,
) -> Result<(UserRecord, Option<UserId>)> {
    let name = Name::of(&new.login)?;
    new.status.check()?;
    if new.contacts.len() > MAX_NEW_CONTACTS {
        return Err(Error::limit(
            "contacts",
            format!(
                "{} given; a new user takes {MAX_NEW_CONTACTS}, add the others later",
                new.contacts.len()
            ),
        ));
    }
    let like = name.stage(store, batch, id, &new.login, rules)?;
    let looks_held = name.holds_looks(like, rules);
    if let Some(created) = new.created.filter(|created| *created > now) {
        return Err(Error::invalid("created", format!("is {created}, which is yet to come; it is {now}")));
    }
    let mut record = UserRecord {
        id,
        login: new.login.clone(),
        canonical: name.canonical,
        status: new.status.in_whole_seconds(),
        home: new.home,
        created: new.created.unwrap_or(now),
        updated: now,
        generation: 0,
        next_contact: 0,
        looks_held,
        looks: name.looks,
        addresses: name.addresses,
        service: new.service,
    };
    for contact in &new.contacts {
        insert_contact(store, batch, &mut record, contact, now)?;
    }
    for (section, values) in [(Section::Profile, &new.profile), (Section::Preferences, &new.preferences)] {
        check_attributes(section.field(), values)?;
        if !values.is_empty() {
            let values = AttributesRecord { user: id, section, values: values.clone() };
            batch.insert(&values).map_err(|error| error.with_field(section.field()))?;
        }
    }
    batch.insert(&record)?;
    Ok((record, like))
}

fn check_stamp(user: &Stored<UserRecord>, expect: Option<Stamp>) -> Result<()> {
    match expect {
        Some(stamp) if stamp != user.version.into() => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{} has changed since it was read ({} now, {stamp} expected); read it again",
                user.record.id,
                Stamp::from(user.version)
            ),
        )
        .with_field("stamp")),
        _ => Ok(()),
    }
}

/// Stages a rename and new maps, and tells whom a new name could be taken for.
pub(crate) fn stage_change(
    store: &dyn Store,
    batch: &mut Batch,
    id: UserId,
    change: &UserChange,
    now: Timestamp,
    rules: NameRules,
) -> Result<(UserRecord, Option<UserId>)> {
    let old = read_user(store, id)?;
    check_stamp(&old, change.expect)?;
    let home = change.home.unwrap_or(old.record.home);
    let mut new = UserRecord { updated: now, home, ..old.record.clone() };
    let mut like = None;
    if let Some(login) = &change.login {
        let name = Name::of(login)?;
        like = name.stage(store, batch, id, login, rules)?;
        new.login.clone_from(login);
        new.looks_held = name.holds_looks(like, rules);
        (new.canonical, new.looks, new.addresses) = (name.canonical, name.looks, name.addresses);
    }
    for (section, values) in
        [(Section::Profile, &change.profile), (Section::Preferences, &change.preferences)]
    {
        if let Some(values) = values {
            stage_attributes(store, batch, id, section, values)?;
        }
    }
    batch.replace(&old, &new)?;
    Ok((new, like))
}

/// Stages a whole map in the place of the old one.
pub(crate) fn stage_attributes(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    section: Section,
    values: &Attributes,
) -> Result<()> {
    check_attributes(section.field(), values)?;
    let new = AttributesRecord { user, section, values: values.clone() };
    let staged = match store::read::<AttributesRecord>(store, &(user, section as u8))? {
        Some(old) if values.is_empty() => {
            batch.remove(&old);
            Ok(())
        }
        Some(old) => batch.replace(&old, &new),
        None if values.is_empty() => Ok(()),
        None => batch.insert(&new),
    };
    // A map too large is the caller's profile or preferences, whatever its table is called.
    staged.map_err(|error| error.with_field(section.field()))
}

/// Stages another status. Leaving the active state ends every session of the user.
pub(crate) fn stage_status(
    store: &dyn Store,
    batch: &mut Batch,
    id: UserId,
    status: &Status,
    now: Timestamp,
) -> Result<UserRecord> {
    status.check()?;
    let old = read_user(store, id)?;
    let mut new = UserRecord { status: status.in_whole_seconds(), updated: now, ..old.record.clone() };
    if !status.is_active_at(now) {
        new.generation = next_generation(&old.record)?;
    }
    batch.replace(&old, &new)?;
    Ok(new)
}

/// Stages the end of every session of the user: one row, however many sessions there are.
pub(crate) fn stage_generation(store: &dyn Store, batch: &mut Batch, id: UserId) -> Result<UserRecord> {
    let old = read_user(store, id)?;
    let new = UserRecord { generation: next_generation(&old.record)?, ..old.record.clone() };
    batch.replace(&old, &new)?;
    Ok(new)
}

fn next_generation(user: &UserRecord) -> Result<u32> {
    let next = user.generation.saturating_add(1);
    if next > LAST_GENERATION {
        let ended =
            format!("all sessions of {} were ended {LAST_GENERATION} times; delete the user", user.id);
        return Err(Error::limit("user", ended));
    }
    Ok(next)
}

fn insert_contact(
    store: &dyn Store,
    batch: &mut Batch,
    user: &mut UserRecord,
    contact: &NewContact,
    now: Timestamp,
) -> Result<ContactRecord> {
    let email = contact.check()?;
    let record = ContactRecord {
        user: user.id,
        id: ContactId::from_number(user.next_contact),
        kind: contact.kind,
        label: contact.label.clone(),
        value: contact.value.clone(),
        email,
        verified: contact.verified.then_some(now),
    };
    user.next_contact = user.next_contact.checked_add(1).ok_or_else(|| {
        Error::limit("contacts", format!("{} has used up its 4,294,967,295 contact numbers", user.id))
    })?;
    if let (Some(address), Some(_)) = (&record.email, record.verified) {
        stage_verified(store, batch, &record, address)?;
    }
    batch.insert(&record)?;
    Ok(record)
}

/// Stages one more contact detail.
pub(crate) fn stage_contact(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    contact: &NewContact,
    now: Timestamp,
) -> Result<ContactRecord> {
    let old = read_user(store, user)?;
    let mut new = UserRecord { updated: now, ..old.record.clone() };
    let record = insert_contact(store, batch, &mut new, contact, now)?;
    batch.replace(&old, &new)?;
    Ok(record)
}

/// The contact's row, or that there is no such contact.
fn read_contact(store: &dyn Store, user: UserId, id: ContactId) -> Result<Stored<ContactRecord>> {
    store::read(store, &(user, id))?
        .ok_or_else(|| Error::not_found("contact", format_args!("{id} of {user}")))
}

/// Stages that the user has proved to hold the contact.
pub(crate) fn stage_contact_verified(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    id: ContactId,
    now: Timestamp,
) -> Result<ContactRecord> {
    let old = read_contact(store, user, id)?;
    let new = ContactRecord { verified: Some(now), ..old.record.clone() };
    if let Some(address) = &new.email {
        stage_verified(store, batch, &new, address)?;
    }
    batch.replace(&old, &new)?;
    stage_touch(store, batch, user, now)?;
    Ok(new)
}

/// Stages another e-mail address in the place of the contact's, which its holder has proved to hold.
pub(crate) fn stage_contact_changed(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    id: ContactId,
    address: &str,
    now: Timestamp,
) -> Result<ContactRecord> {
    let old = read_contact(store, user, id)?;
    let email = NewContact::email(address).check()?;
    let new = ContactRecord { value: address.to_owned(), email, verified: Some(now), ..old.record.clone() };
    if let Some(address) = &new.email {
        stage_verified(store, batch, &new, address)?;
    }
    batch.replace(&old, &new)?;
    stage_touch(store, batch, user, now)?;
    Ok(new)
}

/// Stages the removal of a contact.
pub(crate) fn stage_remove_contact(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    id: ContactId,
    now: Timestamp,
) -> Result<ContactRecord> {
    let old = read_contact(store, user, id)?;
    batch.remove(&old);
    stage_touch(store, batch, user, now)?;
    Ok(old.record)
}

/// Stages that something of the user changed.
pub(crate) fn stage_touch(store: &dyn Store, batch: &mut Batch, user: UserId, now: Timestamp) -> Result<()> {
    let old = read_user(store, user)?;
    let new = UserRecord { updated: now, ..old.record.clone() };
    batch.replace(&old, &new)
}
