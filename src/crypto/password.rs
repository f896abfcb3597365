//! Argon2id as PHC strings, computed behind the admission gate.

use super::cost::{MAX_ITERATIONS, MAX_MEMORY_KIB, PasswordCost};
use super::gate::{Gate, Permit, Source};
use super::keys::{KeyId, Keyring, marked_id};
#[cfg(feature = "legacy")]
use super::legacy::{self, SignerKey};
use crate::error::{Error, ErrorKind, PasswordProblem, Result};
use crate::secret::{Entropy, equal, random};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, ParamsBuilder, Version};
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use unicode_normalization::{UnicodeNormalization, is_nfc};
use zeroize::Zeroizing;

/// Longest password in bytes; longer ones are refused before any hash is computed.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;
/// The longest string that is looked at; Argon2's longest is far below.
const MAX_PHC: usize = 512;
const MAX_PARALLELISM: u32 = 16;
/// Bytes of a salt that is computed with, and of a hash: enough not to be guessed, and no more than anybody uses.
const SALT: RangeInclusive<usize> = 8..=48;
const OUTPUT: RangeInclusive<usize> = 16..=64;
/// What a new hash has of both.
const NEW_SALT: usize = 16;
const NEW_OUTPUT: usize = 32;

/// A password in Unicode's form NFC, and otherwise as it was given: keyboards write the same character in different
/// ways (NIST SP 800-63B-4, section 3.1.1.2). Nothing is trimmed, and neither case nor spaces are mapped.
pub(crate) enum Normal<'p> {
    AsGiven(&'p str),
    Composed(Zeroizing<String>),
}

impl<'p> Normal<'p> {
    /// The normal form of a password that is not too long.
    ///
    /// # Errors
    /// `InvalidInput` above 1,024 bytes, before anything else is done with it.
    pub(crate) fn of(password: &'p str) -> Result<Self> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Error::password(
                PasswordProblem::TooLong,
                format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
            ));
        }
        if password.is_ascii() || is_nfc(password) {
            return Ok(Self::AsGiven(password));
        }
        // NFC makes UTF-8 three times as long at most (UAX 15, section 12.1): with that much room the text is never
        // moved, which would leave a copy behind.
        let mut composed = Zeroizing::new(String::with_capacity(3 * password.len()));
        composed.extend(password.nfc());
        Ok(Self::Composed(composed))
    }
}

impl Deref for Normal<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::AsGiven(password) => password,
            Self::Composed(password) => password,
        }
    }
}

pub(super) fn unusable(error: argon2::Error) -> Error {
    Error::damaged("the stored password hash has parameters that Argon2 does not take")
        .caused_by(error.to_string())
}

/// What comes of comparing a password with a stored hash.
#[derive(Debug)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// This build, or these settings, can not tell: a key is missing, or a feature, or the hash is damaged.
    Unverifiable(Error),
}

/// Whether an error says that the stored hash can not be computed, and not that this attempt could not be made.
fn is_of_the_hash(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Mismatch | ErrorKind::Damaged | ErrorKind::LimitExceeded | ErrorKind::InvalidInput
    )
}

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct PasswordHasher {
    cost: PasswordCost,
    gate: Arc<Gate>,
    entropy: Arc<dyn Entropy>,
    keys: Keyring,
    /// A hash of nothing in particular with the present cost: unknown users are verified against it.
    dummy: String,
    computed: AtomicU64,
    /// The secret of Firebase's hashes, where users come from there.
    #[cfg(feature = "legacy")]
    signer: Option<SignerKey>,
    #[cfg(feature = "testing")]
    pause: Pause,
}

/// What runs inside each password hash: a test's hook.
#[cfg(feature = "testing")]
#[derive(Clone, Default)]
pub(crate) struct Pause(pub(crate) Option<Arc<dyn Fn() + Send + Sync>>);

#[cfg(feature = "testing")]
impl std::fmt::Debug for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pause({})", self.0.is_some())
    }
}

impl PasswordHasher {
    pub(crate) fn new(
        cost: PasswordCost,
        gate: Arc<Gate>,
        entropy: Arc<dyn Entropy>,
        keys: Keyring,
    ) -> Result<Self> {
        let mut hasher = Self {
            cost,
            gate,
            entropy,
            keys,
            dummy: String::new(),
            computed: AtomicU64::new(0),
            #[cfg(feature = "legacy")]
            signer: None,
            #[cfg(feature = "testing")]
            pause: Pause::default(),
        };
        // The dummy needs the right shape only: verifying computes the full hash before it compares.
        let output = random::<NEW_OUTPUT>(&*hasher.entropy)?;
        let salt = random::<NEW_SALT>(&*hasher.entropy)?;
        hasher.dummy = encode(&hasher.present()?, salt.as_slice(), output.as_slice())?;
        Ok(hasher)
    }

    /// Runs the hook inside each hash from now on.
    #[cfg(feature = "testing")]
    pub(crate) fn set_pause(&mut self, pause: Pause) {
        self.pause = pause;
    }

    /// The secret with which Firebase's hashes are verified.
    #[cfg(feature = "legacy")]
    pub(crate) fn set_signer(&mut self, signer: Option<SignerKey>) {
        self.signer = signer;
    }

    /// The PHC string of a new hash with a fresh 16-byte salt, peppered with the current key if there is one.
    pub(crate) fn hash(&self, password: &str, source: Source) -> Result<String> {
        let salt = random::<NEW_SALT>(&*self.entropy)?;
        let (params, mut output) = (self.present()?, Zeroizing::new([0; NEW_OUTPUT]));
        self.compute(&params, password, salt.as_slice(), output.as_mut_slice(), source)?;
        encode(&params, salt.as_slice(), output.as_slice())
    }

    /// As [`verify`](Self::verify), for whoever must not learn that a hash is there: where it can not be compared, the
    /// work is the same as for nobody's password, and the verdict has the reason.
    ///
    /// # Errors
    /// `InvalidInput` for a password above 1,024 bytes; `Busy`.
    pub(crate) fn judge(&self, password: &str, phc: Option<&str>, source: Source) -> Result<Verdict> {
        Normal::of(password)?;
        match self.verify(password, phc, source) {
            Ok(true) => Ok(Verdict::Right),
            Ok(false) => Ok(Verdict::Wrong),
            Err(error) if phc.is_some() && is_of_the_hash(&error) => {
                self.verify(password, None, source)?;
                Ok(Verdict::Unverifiable(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the password belongs to the stored hash; with none, the same work for a certain "no".
    ///
    /// # Errors
    /// `Mismatch` names the key that the hash needs and is not there; `Damaged` for a string that is none, or asks for too
    /// much; `InvalidInput` for a password above 1,024 bytes; `Busy`.
    pub(crate) fn verify(&self, password: &str, phc: Option<&str>, source: Source) -> Result<bool> {
        if let Some(stored) = phc.filter(|stored| is_foreign(stored)) {
            return self.verify_foreign(password, stored, source);
        }
        let Own { params, salt, expected } = own(phc.unwrap_or(&self.dummy))?;
        let mut room = Zeroizing::new([0; *OUTPUT.end()]);
        let computed = room.get_mut(..expected.len()).unwrap_or_default();
        self.compute(&params, password, &salt, computed, source)?;
        // Both are hashed so that they can be compared in a time that tells nothing, whatever their length.
        let (computed, expected) = (blake3::hash(computed), blake3::hash(expected.as_bytes()));
        Ok(equal(computed.as_bytes(), expected.as_bytes()) & phc.is_some())
    }

    /// As [`verify`](Self::verify), of a hash that another system made, from the password as it was typed.
    ///
    /// A wrong password costs a dummy hash besides, so that nobody with such a hash is told from an unknown name by an
    /// answer that comes sooner. One that comes later tells it still; see `decisions`.
    #[cfg(feature = "legacy")]
    fn verify_foreign(&self, password: &str, stored: &str, source: Source) -> Result<bool> {
        Normal::of(password)?;
        let foreign = legacy::parse(stored).map_err(|error| unreadable(&error))?;
        foreign.check(self.signer.as_ref())?;
        let Own { params, salt, .. } = own(&self.dummy)?;
        // One after the other, so that there is room for the larger of them.
        let blocks = foreign.blocks().max(params.block_count());
        self.gate.admit(source, blocks, |permit| {
            self.count();
            if foreign.verify(password.as_bytes(), self.signer.as_ref(), permit)? {
                return Ok(true);
            }
            let mut output = [0; NEW_OUTPUT];
            self.run(&params, None, password.as_bytes(), &salt, permit, &mut output)?;
            Ok(false)
        })?
    }

    /// The dummy hash that a wrong password would have cost: for whoever gave the right one of a hash that another system
    /// made and is refused all the same. Not where the gate has no room, since a wrong one would not hear of that.
    pub(crate) fn as_if_wrong(&self, password: &str, stored: &str, source: Source) -> Result<()> {
        if !is_foreign(stored) {
            return Ok(());
        }
        match self.verify(password, None, source) {
            Err(error) if error.kind() != ErrorKind::Busy => Err(error),
            _ => Ok(()),
        }
    }

    #[cfg(not(feature = "legacy"))]
    #[expect(clippy::unused_self, reason = "the feature `legacy` has the one that uses it")]
    fn verify_foreign(&self, _: &str, _: &str, _: Source) -> Result<bool> {
        Err(Error::damaged(FOREIGN))
    }

    /// Whether a hash that comes from outside can be verified, and what scheme it is of; `InvalidInput` says why not.
    pub(crate) fn check_stored(&self, stored: &str) -> Result<String> {
        if !is_foreign(stored) {
            let in_field = |error: Error| Error::invalid("password_hash", error.to_string());
            let found = own(stored).map_err(in_field)?;
            if !found.params.keyid().is_empty() {
                self.keys.pepper(found.params.keyid())?;
            }
            self.has_room(found.params.block_count())?;
            return Ok(Algorithm::Argon2id.ident().to_string());
        }
        #[cfg(feature = "legacy")]
        return legacy::check(stored, self.signer.as_ref()).and_then(|(scheme, blocks)| {
            self.has_room(blocks)?;
            Ok(scheme.to_string())
        });
        #[cfg(not(feature = "legacy"))]
        Err(Error::invalid("password_hash", FOREIGN))
    }

    /// Whether a hash that comes from outside could ever be computed.
    fn has_room(&self, blocks: usize) -> Result<()> {
        self.gate.too_large(blocks).map_or(Ok(()), |why| Err(Error::limit("password_hash", why)))
    }

    /// A new hash of a password that was verified, if the old one has another cost or key than new ones get, or a
    /// shorter salt or hash; not where the gate has no room, as the next login can do it as well.
    pub(crate) fn upgrade(&self, password: &str, phc: &str, source: Source) -> Result<Option<String>> {
        let present = self.present()?;
        let same = parse(phc).is_ok_and(|parsed| {
            !is_foreign(phc)
                && parsed.salt.is_some_and(|salt| salt.len() >= NEW_SALT)
                && Params::try_from(&parsed).is_ok_and(|params| params == present)
        });
        if same {
            return Ok(None);
        }
        match self.hash(password, source) {
            Err(error) if error.kind() == ErrorKind::Busy => Ok(None),
            hashed => hashed.map(Some),
        }
    }

    /// Blocks of 1 KiB in which a new hash works.
    #[cfg(feature = "tokio")]
    pub(crate) fn blocks(&self) -> Result<usize> {
        self.cost.blocks()
    }

    /// Turns a call back that is not to wait for a hash, in front of what is dear besides and would be done twice.
    pub(crate) fn not_on_trial(&self) -> Result<()> {
        self.gate.not_on_trial()
    }

    /// The gate behind which hashes are computed.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The parameters of a new hash.
    fn present(&self) -> Result<Params> {
        let mut params = ParamsBuilder::new();
        params.m_cost(self.cost.memory_kib()).t_cost(self.cost.iterations()).p_cost(1);
        params.output_len(NEW_OUTPUT);
        if let Some(id) = self.keys.current() {
            params.keyid(argon2::KeyId::new(&self.keys.mark(id)?).map_err(unusable)?);
        }
        params.build().map_err(unusable)
    }

    /// How many hashes have been computed so far: a refused attempt must not cost one.
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn compute(
        &self,
        params: &Params,
        password: &str,
        salt: &[u8],
        output: &mut [u8],
        source: Source,
    ) -> Result<()> {
        let password = Normal::of(password)?;
        let pepper = match params.keyid() {
            [] => None,
            mark => Some(self.keys.pepper(mark)?),
        };
        let pepper = pepper.as_ref().map(|pepper| pepper.as_slice());
        // Before a permit that is held already is given back for a larger one.
        self.gate.check(params.block_count())?;
        self.gate.admit(source, params.block_count(), |permit| {
            self.run(params, pepper, password.as_bytes(), salt, permit, output)
        })?
    }

    /// Counts a hash that begins.
    fn count(&self) {
        self.computed.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "testing")]
        if let Some(pause) = &self.pause.0 {
            pause();
        }
    }

    fn run(
        &self,
        params: &Params,
        pepper: Option<&[u8]>,
        password: &[u8],
        salt: &[u8],
        permit: &mut Permit,
        output: &mut [u8],
    ) -> Result<()> {
        self.count();
        let memory = permit.memory(params.block_count());
        let done = argon2id(params, pepper, password, salt, memory, output);
        if params.t_cost() == 1 {
            // After one pass the first blocks still depend on the password alone, so whoever reads the memory could
            // test guesses at the price of a few blocks. A second pass has overwritten them with ones that cost the
            // whole first pass to recompute.
            memory.fill(Block::default());
        }
        done.map_err(unusable)
    }
}

/// RFC 9106, with the pepper as its secret value.
fn argon2id(
    params: &Params,
    pepper: Option<&[u8]>,
    password: &[u8],
    salt: &[u8],
    memory: &mut [Block],
    output: &mut [u8],
) -> Result<(), argon2::Error> {
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let argon2 = match pepper {
        Some(pepper) => Argon2::new_with_secret(pepper, algorithm, version, params.clone())?,
        None => Argon2::new(algorithm, version, params.clone()),
    };
    argon2.hash_password_into_with_memory(password, salt, output, memory)
}

fn parse(phc: &str) -> Result<PasswordHash> {
    if phc.len() > MAX_PHC {
        return Err(Error::damaged(format!("the stored password hash is a string of {} bytes", phc.len())));
    }
    PasswordHash::new(phc).map_err(|error| {
        Error::damaged("the stored password hash is not a PHC string").caused_by(error.to_string())
    })
}

/// What to say of a hash that needs the feature.
#[cfg(not(feature = "legacy"))]
const FOREIGN: &str = "the password hash is not Argon2id of version 19; the feature `legacy` verifies others";

/// Whether a stored hash is of another scheme than those that are made here. One of ours that is cut off or hostile is
/// not.
fn is_foreign(stored: &str) -> bool {
    !stored.starts_with("$argon2id$v=19$")
}

#[cfg(feature = "legacy")]
fn unreadable(error: &Error) -> Error {
    Error::damaged(format!("a stored password hash can not be verified: {error}"))
}

/// A hash of our own scheme, taken apart.
struct Own {
    params: Params,
    salt: Salt,
    expected: Output,
}

/// The parts of a hash of our own scheme, with the bounds kept.
fn own(phc: &str) -> Result<Own> {
    let parsed = parse(phc)?;
    if parsed.algorithm != Algorithm::Argon2id.ident() || parsed.version != Some(Version::V0x13.into()) {
        return Err(Error::damaged("the stored password hash is not Argon2id of version 19"));
    }
    let params = Params::try_from(&parsed).ok().filter(|params| {
        // Written again they are the same: none twice, none out of order, no zeros in front.
        ParamsString::try_from(params).is_ok_and(|again| again == parsed.params)
    });
    let params = params.ok_or_else(|| Error::damaged("the stored password hash has malformed parameters"))?;
    if params.m_cost() > MAX_MEMORY_KIB
        || params.t_cost() > MAX_ITERATIONS
        || params.p_cost() > MAX_PARALLELISM
    {
        return Err(Error::damaged(format!(
            "the stored password hash asks for {} KiB, {} passes and {} lanes; at most {MAX_MEMORY_KIB}, \
             {MAX_ITERATIONS} and {MAX_PARALLELISM} are computed",
            params.m_cost(),
            params.t_cost(),
            params.p_cost()
        )));
    }
    let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else {
        return Err(Error::damaged("the stored password hash has no salt or no hash"));
    };
    if !OUTPUT.contains(&expected.len()) || !SALT.contains(&salt.len()) {
        return Err(Error::damaged(format!(
            "the stored password hash has {} bytes and its salt {}; {OUTPUT:?} and {SALT:?} are computed",
            expected.len(),
            salt.len()
        )));
    }
    Ok(Own { params, salt, expected })
}

/// The key that a stored hash is peppered with; none for one of another scheme.
pub(crate) fn pepper_of(phc: &str) -> Result<Option<KeyId>> {
    let Ok(parsed) = parse(phc) else { return Ok(None) };
    match Params::try_from(&parsed) {
        Ok(params) if !params.keyid().is_empty() => marked_id(params.keyid()).map(Some),
        _ => Ok(None),
    }
}

fn encode(params: &Params, salt: &[u8], output: &[u8]) -> Result<String> {
    let phc = |_| Error::new(ErrorKind::Storage, "the password hash could not be written as a PHC string");
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)
            .map_err(|_| Error::damaged("the password cost has no PHC form"))?,
        salt: Some(Salt::new(salt).map_err(phc)?),
        hash: Some(Output::new(output).map_err(phc)?),
    };
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
