//! Stages changes to flags and their rules.

use super::record::{FLAG_BY_NAME, FlagRecord, FlagRuleRecord};
use super::{FlagChange, FlagState, FlagTarget, NewFlag, WHOLE};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Flag, ScopeId, Stamp};
use crate::store::{self, Batch, Record, Store, Stored};
use crate::text;

/// The flag's row, or that there is no such flag.
pub(crate) fn read_flag(store: &dyn Store, flag: Flag) -> Result<Stored<FlagRecord>> {
    store::read(store, &flag)?.ok_or_else(|| Error::not_found("flag", flag))
}

/// The flag of that name, if there is one.
pub(crate) fn find(store: &dyn Store, name: &str) -> Result<Option<Stored<FlagRecord>>> {
    text::name("flag.name", name)?;
    store::find(store, FLAG_BY_NAME, &store::index_prefix(name))
}

/// Stages a flag under a number that has never been used. That the name is free is decided by the commit.
pub(crate) fn stage_define(batch: &mut Batch, flag: Flag, new: &NewFlag, now: Timestamp) -> Result<()> {
    let NewFlag { name, description, owner, default } = new.clone();
    text::name("flag.name", &name)?;
    text::plain("flag.description", &description, text::MAX_TEXT)?;
    text::plain("flag.owner", &owner, text::MAX_TEXT)?;
    let (state, percentage) = (FlagState::default(), 0);
    let (created, updated) = (now, now);
    batch.insert(&FlagRecord { flag, name, description, owner, default, state, percentage, created, updated })
}

/// Stages another name, description, owner or default. Returns the record, and what of it is different, for the audit
/// log; the default comes last.
pub(crate) fn stage_change(
    store: &dyn Store,
    batch: &mut Batch,
    flag: Flag,
    change: &FlagChange,
    now: Timestamp,
) -> Result<(Stored<FlagRecord>, Vec<&'static str>)> {
    let old = read_flag(store, flag)?;
    let present = Stamp::from(old.version);
    if let Some(stamp) = change.expect
        && stamp != present
    {
        let message =
            format!("{flag} has changed since it was read ({present} now, {stamp} expected); read it again");
        return Err(Error::new(ErrorKind::Conflict, message).with_field("stamp"));
    }
    let (mut new, mut changed) = (old.record.clone(), Vec::new());
    if let Some(name) = &change.name
        && *name != new.name
    {
        if find(store, name)?.is_some() {
            return Err(Error::exists("flag.name", format!("there is a flag \"{name}\" already")));
        }
        new.name.clone_from(name);
        changed.push("name");
    }
    for (field, name, given, own) in [
        ("flag.description", "description", &change.description, &mut new.description),
        ("flag.owner", "owner", &change.owner, &mut new.owner),
    ] {
        if let Some(given) = given {
            text::plain(field, given, text::MAX_TEXT)?;
            if given != own {
                own.clone_from(given);
                changed.push(name);
            }
        }
    }
    if let Some(default) = change.default
        && default != new.default
    {
        new.default = default;
        changed.push(if default { "default on" } else { "default off" });
    }
    if changed.is_empty() {
        return Ok((old, changed));
    }
    new.updated = now;
    batch.replace(&old, &new)?;
    Ok((Stored { version: old.version, record: new }, changed))
}

/// Stages another state; false if it is that already.
pub(crate) fn stage_state(
    store: &dyn Store,
    batch: &mut Batch,
    flag: Flag,
    state: FlagState,
    now: Timestamp,
) -> Result<bool> {
    let old = read_flag(store, flag)?;
    let differs = old.record.state != state;
    if differs {
        batch.replace(&old, &FlagRecord { state, updated: now, ..old.record.clone() })?;
    }
    Ok(differs)
}

/// Stages another percentage, in hundredths; false if it is that already.
pub(crate) fn stage_percentage(
    store: &dyn Store,
    batch: &mut Batch,
    flag: Flag,
    percentage: u16,
    now: Timestamp,
) -> Result<bool> {
    if percentage > WHOLE {
        let message = format!("is {percentage}; it is in hundredths of a percent, 0 to {WHOLE}");
        return Err(Error::invalid("flag.percentage", message));
    }
    let old = read_flag(store, flag)?;
    let differs = old.record.percentage != percentage;
    if differs {
        batch.replace(&old, &FlagRecord { percentage, updated: now, ..old.record.clone() })?;
    }
    Ok(differs)
}

/// At which scope a rule for that target stands, if it is asked for at this one.
pub(crate) fn place(target: FlagTarget, asked: ScopeId) -> Result<ScopeId> {
    match target {
        FlagTarget::User(_) => Ok(asked),
        FlagTarget::Role(_) if asked == ScopeId::ROOT => Ok(asked),
        FlagTarget::Role(role) => Err(Error::invalid(
            "grant.scope",
            format!(
                "is {asked}; a rule for a role counts wherever {role} is held and takes no scope of its own"
            ),
        )),
        FlagTarget::Scope(ScopeId::ROOT) => Err(Error::invalid(
            "target",
            "is the global scope, which is everybody everywhere; set the flag's state or its default instead",
        )),
        FlagTarget::Scope(scope) if asked == ScopeId::ROOT || asked == scope => Ok(scope),
        FlagTarget::Scope(scope) => Err(Error::invalid(
            "grant.scope",
            format!("is {asked}; a rule for {scope} counts there and takes no other scope"),
        )),
    }
}

/// Stages a rule in the place of one for the same target at the same scope; false if it is as that one was.
pub(crate) fn stage_rule(store: &dyn Store, batch: &mut Batch, new: &FlagRuleRecord) -> Result<bool> {
    if new.terms.break_glass {
        return Err(Error::invalid("grant", "is an emergency grant; flags have no emergencies"));
    }
    if matches!(new.target, FlagTarget::Role(_)) && (new.terms.from.is_some() || new.terms.until.is_some()) {
        let message =
            "has a beginning or an end; a rule for a role has none, the assignments of the role have";
        return Err(Error::invalid("grant", message));
    }
    match store::read::<FlagRuleRecord>(store, &new.key())? {
        Some(old) if old.record.terms == new.terms => Ok(false),
        Some(old) => batch.replace(&old, new).map(|()| true),
        None => batch.insert(new).map(|()| true),
    }
}

/// Stages the end of a rule.
pub(crate) fn stage_remove_rule(
    store: &dyn Store,
    batch: &mut Batch,
    flag: Flag,
    target: FlagTarget,
    scope: ScopeId,
) -> Result<FlagRuleRecord> {
    match store::read::<FlagRuleRecord>(store, &((flag, target.key()), scope))? {
        Some(old) => {
            batch.remove(&old);
            Ok(old.record)
        }
        None => Err(Error::not_found("target", format_args!("the rule of {flag} for {target}"))),
    }
}
