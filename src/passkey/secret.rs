//! The one secret of a database's passkeys, and what is derived from it.

use super::record::{PasskeyRecord, PasskeyState, StateKey};
use crate::error::{Error, Result};
use crate::secret::equal;
use crate::store::{self, Record, Store};
use zeroize::Zeroizing;

#[cfg(feature = "passkeys")]
use crate::id::UserId;
#[cfg(feature = "passkeys")]
use crate::secret::{Entropy, random};
#[cfg(feature = "passkeys")]
use crate::store::Batch;

/// What a user's authenticators know the user by: the longest that the standard allows (section 5.4.3).
#[cfg(feature = "passkeys")]
pub(crate) const HANDLE: usize = 64;

const SEAL: &str = "portcullis 2026 passkey seal";
#[cfg(feature = "passkeys")]
const USER_HANDLE: &str = "portcullis 2026 passkey user handle";
#[cfg(feature = "passkeys")]
const TICKET: &str = "portcullis 2026 passkey login ticket";

/// Keys all that is derived; the only place that a key kept outside of the database has to go into.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// The secret of this database, if it has one yet.
    pub(crate) fn read(store: &dyn Store) -> Result<Option<Self>> {
        match store::read::<PasskeyState>(store, &StateKey::Secret)?.map(|row| row.record) {
            None => Ok(None),
            Some(PasskeyState::Secret(bytes)) => Ok(Some(Self(Zeroizing::new(bytes)))),
            Some(_) => Err(Error::damaged("the passkeys' secret is another record")),
        }
    }

    /// The secret that a passkey was sealed with: without it nothing can be believed.
    pub(crate) fn required(store: &dyn Store) -> Result<Self> {
        Self::read(store)?
            .ok_or_else(|| Error::damaged("there are passkeys, but the secret that seals them is gone"))
    }

    fn key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, self.0.as_slice()))
    }

    /// A keyed digest over the whole record but the seal itself, and with it over whose it is: a row whose key, owner,
    /// counter or suspension was changed behind the engine's back is not believed (OWASP ASVS 5.0 6.7.1).
    pub(crate) fn seal(&self, record: &PasskeyRecord) -> Result<[u8; 32]> {
        let bare = PasskeyRecord { seal: [0; 32], ..record.clone() };
        let bytes = store::encode_value(PasskeyRecord::TABLE.name, PasskeyRecord::FORMAT, &bare)?;
        Ok(blake3::keyed_hash(&self.key(SEAL), &bytes).into())
    }

    /// Refuses a record that is not as it was sealed.
    pub(crate) fn check(&self, record: &PasskeyRecord) -> Result<()> {
        if equal(&self.seal(record)?, &record.seal) {
            return Ok(());
        }
        Err(Error::damaged(format!("passkey {:016x} of {} is not as it was sealed", record.id, record.user)))
    }
}

#[cfg(feature = "passkeys")]
impl Secret {
    /// The secret of this database, staged now if it has none yet.
    pub(crate) fn read_or_stage(store: &dyn Store, batch: &mut Batch, entropy: &dyn Entropy) -> Result<Self> {
        if let Some(found) = Self::read(store)? {
            return Ok(found);
        }
        let secret = random::<32>(entropy)?;
        batch.insert(&PasskeyState::Secret(*secret))?;
        Ok(Self(secret))
    }

    /// The same record under its present seal.
    pub(crate) fn sealed(&self, mut record: PasskeyRecord) -> Result<PasskeyRecord> {
        record.seal = self.seal(&record)?;
        Ok(record)
    }

    /// What authenticators know a user by. It is the same for all passkeys of a user and tells nothing to whoever
    /// finds it on an authenticator (section 14.6.1).
    pub(crate) fn user_handle(&self, user: UserId) -> [u8; HANDLE] {
        let mut handle = [0; HANDLE];
        let mut keyed = blake3::Hasher::new_keyed(&self.key(USER_HANDLE));
        keyed.update(&user.get().to_be_bytes()).finalize_xof().fill(&mut handle);
        handle
    }

    /// The tag by which a login ticket is known again.
    pub(crate) fn ticket_tag(&self, body: &[u8]) -> [u8; 32] {
        blake3::keyed_hash(&self.key(TICKET), body).into()
    }
}
