//! Stages password hashes, and tells which of them must be changed.

use super::policy::PasswordPolicy;
use super::record::{CredentialRecord, FormerPasswordRecord, MustChange};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Key, UserId};
use crate::store::{self, Batch, Scan, Store, Stored};

/// More than any history has ever held.
const ALL_FORMER: usize = 64;

/// Stages a password hash, the first one or another, for good or until it ends; the one before it is remembered as far as
/// the policy says.
pub(crate) fn stage_password(
    store: &dyn Store,
    batch: &mut Batch,
    new: &CredentialRecord,
    policy: &PasswordPolicy,
) -> Result<()> {
    let Some(old) = store::read::<CredentialRecord>(store, &new.user)? else {
        return batch.insert(&CredentialRecord { revision: 0, ..new.clone() });
    };
    let revision = old.record.revision.wrapping_add(1);
    batch.replace(&old, &CredentialRecord { revision, ..new.clone() })?;
    // The present one is among those that are remembered.
    let kept = policy.remembered().saturating_sub(1);
    let former = former_passwords(store, new.user)?;
    if kept > 0 {
        let CredentialRecord { user, revision, phc, .. } = old.record;
        batch.insert(&FormerPasswordRecord { user, revision, phc })?;
    }
    for gone in former.iter().skip(kept.saturating_sub(1)) {
        batch.remove(gone);
    }
    Ok(())
}

/// The former passwords that are remembered, newest first.
pub(crate) fn former_passwords(store: &dyn Store, user: UserId) -> Result<Vec<Stored<FormerPasswordRecord>>> {
    let prefix = user.bytes();
    let scan = Scan { prefix: &prefix, after: None, limit: ALL_FORMER, descending: true };
    let (former, _) = store::page::<FormerPasswordRecord>(store, &scan)?;
    Ok(former)
}

/// Stages that somebody else may know the password. Its end, if it has one, stays.
pub(crate) fn stage_compromised(store: &dyn Store, batch: &mut Batch, user: UserId) -> Result<()> {
    let old = store::read::<CredentialRecord>(store, &user)?
        .ok_or_else(|| Error::not_found("password", format_args!("the password of {user}")))?;
    let new = CredentialRecord { must_change: Some(MustChange::Compromised), ..old.record.clone() };
    batch.replace(&old, &new)
}

/// Why a password that was verified must be changed before it opens anything.
pub(crate) fn must_change(
    credential: &CredentialRecord,
    policy: &PasswordPolicy,
    now: Timestamp,
) -> Option<MustChange> {
    let expired = policy.age_limit().is_some_and(|limit| now.since(credential.changed) > limit);
    credential.must_change.or_else(|| expired.then_some(MustChange::Expired))
}

/// Whether a password that was set for a time opens nothing any more, not even its own change.
pub(crate) fn has_ended(credential: &CredentialRecord, now: Timestamp) -> bool {
    credential.ends.is_some_and(|end| now >= end)
}
