//! Argon2id as PHC strings, computed behind the admission gate.

use super::gate::{Gate, Permit, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Entropy, equal, random};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

    /// Blocks of 1 KiB in which one hash works.
    pub(crate) fn blocks(self) -> Result<usize> {
        self.params().map(|params| params.block_count())
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
    gate: Arc<Gate>,
    entropy: Arc<dyn Entropy>,
    /// A hash of nothing in particular with the present cost: unknown users are verified against it.
    dummy: String,
    computed: AtomicU64,
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
    pub(crate) fn new(cost: PasswordCost, gate: Arc<Gate>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let mut hasher = Self {
            cost,
            gate,
            entropy,
            dummy: String::new(),
            computed: AtomicU64::new(0),
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

    /// The PHC string of a new hash with a fresh 16-byte salt.
    pub(crate) fn hash(&self, password: &str, source: Source) -> Result<String> {
        let salt = random::<16>(&*self.entropy)?;
        let output = self.compute(&self.cost.params()?, password, salt.as_slice(), source)?;
        self.encode(salt.as_slice(), output.as_slice())
    }

    /// Whether the password belongs to the PHC string; with none, the same work for a certain "no".
    pub(crate) fn verify(&self, password: &str, phc: Option<&str>, source: Source) -> Result<bool> {
        let parsed = PasswordHash::new(phc.unwrap_or(&self.dummy)).map_err(|error| {
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
        let computed = self.compute(&params, password, &salt, source)?;
        Ok(equal(&computed, &expected) & phc.is_some())
    }

    /// A new hash of a password that was verified, if the old one has another cost than new ones get and the gate has
    /// room: the next login can do it as well.
    pub(crate) fn upgrade(&self, password: &str, phc: &str, source: Source) -> Result<Option<String>> {
        let params = PasswordHash::new(phc).ok().and_then(|parsed| Params::try_from(&parsed).ok());
        let present = self.cost.params()?;
        let same = params.is_some_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost())
                == (present.m_cost(), present.t_cost(), present.p_cost())
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

    /// The gate behind which hashes are computed.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
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
        source: Source,
    ) -> Result<Zeroizing<[u8; 32]>> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Error::invalid(
                "password",
                format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
            ));
        }
        self.gate.admit(source, params.block_count(), |permit| self.run(params, password, salt, permit))?
    }

    fn run(
        &self,
        params: &Params,
        password: &str,
        salt: &[u8],
        permit: &mut Permit,
    ) -> Result<Zeroizing<[u8; 32]>> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "testing")]
        if let Some(pause) = &self.pause.0 {
            pause();
        }
        let memory = permit.memory();
        let mut output = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let done =
            argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut *output, &mut *memory);
        if params.t_cost() == 1 {
            // After one pass the first blocks still depend on the password alone, so whoever reads the memory could
            // test guesses at the price of a few blocks. A second pass has overwritten them with ones that cost the
            // whole first pass to recompute.
            memory.fill(Block::default());
        }
        done.map_err(unusable)?;
        Ok(output)
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

#[cfg(test)]
mod tests {
    use super::super::gate::Limits;
    use super::*;
    use crate::secret::SystemEntropy;
    use std::time::Duration;

    const ANYBODY: Source = Source::Unknown;

    fn gate(kib: usize) -> Arc<Gate> {
        Gate::new(Limits { hashes: 2, queue: 8, share: 8, blocks: kib, patience: Duration::from_secs(30) })
    }

    fn hasher(cost: PasswordCost) -> PasswordHasher {
        PasswordHasher::new(cost, gate(19_456), Arc::new(SystemEntropy)).unwrap()
    }

    fn cheap() -> PasswordHasher {
        hasher(PasswordCost { memory_kib: 8, iterations: 1 })
    }

    #[test]
    fn verifies_what_it_hashed_and_nothing_else() {
        let hasher = cheap();
        let phc = hasher.hash("correct horse battery staple", ANYBODY).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{phc}");
        assert!(hasher.verify("correct horse battery staple", Some(&phc), ANYBODY).unwrap());
        assert!(!hasher.verify("correct horse battery staplE", Some(&phc), ANYBODY).unwrap());
        assert!(!hasher.verify("correct horse battery staple", None, ANYBODY).unwrap());
        assert_ne!(phc, hasher.hash("correct horse battery staple", ANYBODY).unwrap(), "salts differ");
    }

    #[test]
    fn the_default_cost_is_what_the_string_says() {
        let phc = hasher(PasswordCost::default()).hash("x", ANYBODY).unwrap();
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
        assert!(hasher.verify("password", Some(&phc.to_string()), ANYBODY).unwrap());
    }

    #[test]
    fn hostile_strings_are_refused_without_computing() {
        let hasher = cheap();
        for phc in [
            "",
            "plain",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(
                hasher.verify("x", Some(phc), ANYBODY).unwrap_err().kind(),
                ErrorKind::Damaged,
                "{phc}"
            );
        }
        assert_eq!(hasher.computed(), 0);
        assert_eq!(hasher.hash(&"x".repeat(1025), ANYBODY).unwrap_err().field(), Some("password"));
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
