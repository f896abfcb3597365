//! Argon2id as PHC strings, computed behind the admission gate.

use super::gate::{Gate, Permit};
#[cfg(feature = "legacy")]
use super::legacy::{self, SignerKey};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Entropy, equal, random};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest password in bytes; longer ones are refused before any hash is computed.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;
/// Fewest code points of a password that is the only factor (NIST SP 800-63B-4, section 3.1.1.2).
pub(crate) const MIN_PASSWORD_CHARS: usize = 15;

/// The most that a stored hash may ask for, so that a hostile record can not take the machine down.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_ITERATIONS: u32 = 64;
const MAX_PARALLELISM: u32 = 16;

/// What one password hash costs: the parameters of Argon2id.
///
/// The default, 19 MiB and two passes, is one of the five rows of equal strength in OWASP's Password Storage Cheat
/// Sheet. A cost below all five rows is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    iterations: u32,
}

/// OWASP's rows: memory in KiB and passes, one lane.
const ROWS: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

impl PasswordCost {
    /// A cost by its memory in KiB and its number of passes, with one lane.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the cost is below every OWASP row, or above 1 GiB or 64 passes.
    pub fn new(memory_kib: u32, iterations: u32) -> Result<Self> {
        if !ROWS.iter().any(|(memory, passes)| memory_kib >= *memory && iterations >= *passes) {
            return Err(Error::invalid(
                "password_cost",
                format!(
                    "{memory_kib} KiB and {iterations} passes are below every OWASP row; take at least 19456 and 2"
                ),
            ));
        }
        if memory_kib > MAX_MEMORY_KIB || iterations > MAX_ITERATIONS {
            return Err(Error::invalid(
                "password_cost",
                format!(
                    "at most {MAX_MEMORY_KIB} KiB and {MAX_ITERATIONS} passes, not {memory_kib} and {iterations}"
                ),
            ));
        }
        Ok(Self { memory_kib, iterations })
    }

    /// Memory of one hash in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over that memory.
    #[must_use]
    pub const fn iterations(self) -> u32 {
        self.iterations
    }

    /// A cost that protects nothing and takes microseconds, so that tests need not wait.
    #[cfg(feature = "testing")]
    pub(crate) const fn danger_for_tests() -> Self {
        Self { memory_kib: 8, iterations: 1 }
    }

    fn params(self) -> Result<Params> {
        Params::new(self.memory_kib, self.iterations, 1, Some(32)).map_err(unusable)
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2 }
    }
}

fn unusable(error: argon2::Error) -> Error {
    Error::damaged("the stored password hash has parameters that Argon2 does not take")
        .caused_by(error.to_string())
}

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct PasswordHasher {
    cost: PasswordCost,
    gate: Gate,
    entropy: Arc<dyn Entropy>,
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
        permits: usize,
        queue: usize,
        patience: Duration,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let gate = Gate::new(permits, queue, patience);
        let mut hasher = Self {
            cost,
            gate,
            entropy,
            dummy: String::new(),
            computed: AtomicU64::new(0),
            #[cfg(feature = "legacy")]
            signer: None,
            #[cfg(feature = "testing")]
            pause: Pause::default(),
        };
        // The dummy needs the right shape only: verifying computes the full hash before it compares.
        let output = random::<32>(&*hasher.entropy)?;
        hasher.dummy = hasher.encode(random::<16>(&*hasher.entropy)?.as_slice(), output.as_slice())?;
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

    /// The PHC string of a new hash with a fresh 16-byte salt.
    pub(crate) fn hash(&self, password: &str) -> Result<String> {
        let salt = random::<16>(&*self.entropy)?;
        let output = self.compute(&self.cost.params()?, password, salt.as_slice())?;
        self.encode(salt.as_slice(), output.as_slice())
    }

    /// Whether the password belongs to the stored hash; with none, the same work for a certain "no".
    pub(crate) fn verify(&self, password: &str, phc: Option<&str>) -> Result<bool> {
        if let Some(stored) = phc.filter(|stored| is_foreign(stored)) {
            return self.verify_foreign(password, stored);
        }
        let (params, salt, expected) = parse(phc.unwrap_or(&self.dummy))?;
        let computed = self.compute(&params, password, &salt)?;
        Ok(equal(&computed, &expected) & phc.is_some())
    }

    /// As [`verify`](Self::verify), of a hash that another system made.
    ///
    /// A wrong password costs a dummy hash besides, so that nobody with such a hash is told from an unknown name by an
    /// answer that comes sooner. One that comes later tells it still; see `decisions`.
    #[cfg(feature = "legacy")]
    fn verify_foreign(&self, password: &str, stored: &str) -> Result<bool> {
        check_length(password)?;
        let foreign = legacy::parse(stored).map_err(|error| unreadable(&error))?;
        let (params, salt, _) = parse(&self.dummy)?;
        let mut permit = self.admit()?;
        if foreign.verify(password.as_bytes(), self.signer.as_ref())? {
            return Ok(true);
        }
        self.computed.fetch_add(1, Ordering::Relaxed);
        run(&mut permit, &params, password, &salt)?;
        Ok(false)
    }

    #[cfg(not(feature = "legacy"))]
    #[expect(clippy::unused_self, reason = "the feature `legacy` has the one that uses it")]
    fn verify_foreign(&self, _: &str, _: &str) -> Result<bool> {
        Err(Error::damaged(FOREIGN))
    }

    /// Whether a hash that comes from outside can be verified, and what scheme it is of; `InvalidInput` says why not.
    pub(crate) fn check_stored(&self, stored: &str) -> Result<String> {
        if !is_foreign(stored) {
            let in_field = |error: Error| Error::invalid("password_hash", error.to_string());
            return parse(stored).map(|_| Algorithm::Argon2id.ident().to_string()).map_err(in_field);
        }
        #[cfg(feature = "legacy")]
        return legacy::check(stored, self.signer.as_ref()).map(|scheme| scheme.to_string());
        #[cfg(not(feature = "legacy"))]
        Err(Error::invalid("password_hash", FOREIGN))
    }

    /// A new hash of a password that was verified, if the old one is of another scheme or cost than new ones are.
    pub(crate) fn upgrade(&self, password: &str, phc: &str) -> Result<Option<String>> {
        let params = if is_foreign(phc) { None } else { parse(phc).ok().map(|(params, ..)| params) };
        let present = self.cost.params()?;
        let same = params.is_some_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost())
                == (present.m_cost(), present.t_cost(), present.p_cost())
        });
        if same { Ok(None) } else { self.hash(password).map(Some) }
    }

    /// How many hashes have been computed so far: a refused attempt must not cost one.
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn compute(&self, params: &Params, password: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        check_length(password)?;
        run(&mut self.admit()?, params, password, salt)
    }

    /// The right to compute a hash, once there is one, and counts it.
    fn admit(&self) -> Result<Permit<'_>> {
        let permit = self.gate.enter()?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "testing")]
        if let Some(pause) = &self.pause.0 {
            pause();
        }
        Ok(permit)
    }

    fn encode(&self, salt: &[u8], output: &[u8]) -> Result<String> {
        let phc =
            |_| Error::new(ErrorKind::Storage, "the password hash could not be written as a PHC string");
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.cost.params()?)
                .map_err(|_| Error::damaged("the password cost has no PHC form"))?,
            salt: Some(Salt::new(salt).map_err(phc)?),
            hash: Some(Output::new(output).map_err(phc)?),
        };
        Ok(hash.to_string())
    }
}

/// What to say of a hash that needs the feature.
#[cfg(not(feature = "legacy"))]
const FOREIGN: &str =
    "the password hash is not Argon2id of version 19 with 32 bytes; the feature `legacy` verifies others";

/// Whether a stored hash is of another form than those that are made here. One that is cut off or hostile is not.
fn is_foreign(stored: &str) -> bool {
    let other_length = || {
        let parsed = PasswordHash::new(stored).ok();
        parsed.and_then(|parsed| parsed.hash).is_some_and(|hash| hash.as_bytes().len() != 32)
    };
    !stored.starts_with("$argon2id$v=19$") || other_length()
}

#[cfg(feature = "legacy")]
fn unreadable(error: &Error) -> Error {
    Error::damaged(format!("a stored password hash can not be verified: {error}"))
}

/// The parameters, salt and output of a hash of our own form, with the bounds kept.
fn parse(phc: &str) -> Result<(Params, Salt, [u8; 32])> {
    let parsed = PasswordHash::new(phc).map_err(|error| {
        Error::damaged("the stored password hash is not a PHC string").caused_by(error.to_string())
    })?;
    if parsed.algorithm != Algorithm::Argon2id.ident() || parsed.version != Some(Version::V0x13.into()) {
        return Err(Error::damaged("the stored password hash is not Argon2id of version 19"));
    }
    let params = Params::try_from(&parsed)
        .map_err(|_| Error::damaged("the stored password hash has malformed parameters"))?;
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
    let expected: [u8; 32] = expected
        .as_bytes()
        .try_into()
        .map_err(|_| Error::damaged("the stored password hash does not have 32 bytes"))?;
    Ok((params, salt, expected))
}

fn check_length(password: &str) -> Result<()> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Error::invalid(
            "password",
            format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
        ));
    }
    Ok(())
}

fn run(permit: &mut Permit<'_>, params: &Params, password: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let memory = permit.memory(params.block_count());
    let mut output = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let done = argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut *output, &mut *memory);
    if params.t_cost() == 1 {
        // After one pass the first blocks still depend on the password alone, so whoever reads the memory could
        // test guesses at the price of a few blocks. A second pass has overwritten them with ones that cost the
        // whole first pass to recompute.
        memory.fill(Block::default());
    }
    done.map_err(unusable)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    fn hasher(cost: PasswordCost) -> PasswordHasher {
        PasswordHasher::new(cost, 2, 8, Duration::from_secs(30), Arc::new(SystemEntropy)).unwrap()
    }

    fn cheap() -> PasswordHasher {
        hasher(PasswordCost { memory_kib: 8, iterations: 1 })
    }

    #[test]
    fn verifies_what_it_hashed_and_nothing_else() {
        let hasher = cheap();
        let phc = hasher.hash("correct horse battery staple").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{phc}");
        assert!(hasher.verify("correct horse battery staple", Some(&phc)).unwrap());
        assert!(!hasher.verify("correct horse battery staplE", Some(&phc)).unwrap());
        assert!(!hasher.verify("correct horse battery staple", None).unwrap());
        assert_ne!(phc, hasher.hash("correct horse battery staple").unwrap(), "salts differ");
    }

    #[test]
    fn the_default_cost_is_what_the_string_says() {
        let phc = hasher(PasswordCost::default()).hash("x").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    }

    #[test]
    fn takes_strings_of_other_costs() {
        let hasher = cheap();
        let mut memory = vec![Block::default(); 64];
        let mut out = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 3, 2, Some(32)).unwrap())
            .hash_password_into_with_memory(b"password", b"somesalt", &mut out, &mut memory)
            .unwrap();
        let phc = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: "m=64,t=3,p=2".parse().unwrap(),
            salt: Some(Salt::new(b"somesalt").unwrap()),
            hash: Some(Output::new(&out).unwrap()),
        };
        assert!(hasher.verify("password", Some(&phc.to_string())).unwrap());
    }

    #[test]
    fn hostile_strings_are_refused_without_computing() {
        let hasher = cheap();
        for phc in [
            "",
            "plain",
            "$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(hasher.verify("x", Some(phc)).unwrap_err().kind(), ErrorKind::Damaged, "{phc}");
        }
        assert_eq!(hasher.computed(), 0);
        assert_eq!(hasher.hash(&"x".repeat(1025)).unwrap_err().field(), Some("password"));
        assert_eq!(hasher.computed(), 0);
    }

    #[test]
    fn weak_costs_are_refused() {
        for (memory, passes) in [(8, 1), (19_455, 2), (47_104, 0), (7_168, 4)] {
            assert_eq!(PasswordCost::new(memory, passes).unwrap_err().field(), Some("password_cost"));
        }
        assert!(PasswordCost::new(u32::MAX, 3).is_err());
        for (memory, passes) in ROWS {
            assert!(PasswordCost::new(memory, passes).is_ok());
        }
    }
}
