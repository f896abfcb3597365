//! Argon2i, Argon2d and Argon2id of versions 16 and 19, with outputs of other lengths than ours.

use super::{
    MAX_ARGON2_KIB, MAX_ARGON2_LANES, MAX_ARGON2_PASSES, MAX_ARGON2_WORK, MAX_OUTPUT, MIN_OUTPUT, computing,
    malformed, refused, same, too_dear,
};
use crate::error::Result;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

const SCHEME: &str = "argon2";

/// A PHC string of Argon2 (RFC 9106, and the PHC string format for its form).
pub(super) struct Argon {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Argon {
    pub(super) fn parse(stored: &str) -> Result<Self> {
        let phc = PasswordHash::new(stored).map_err(|error| computing(SCHEME, error))?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| malformed(SCHEME))?;
        // Version 16 wrote no version at first.
        let version = match phc.version {
            None => Version::V0x10,
            Some(version) => Version::try_from(version).map_err(|_| malformed(SCHEME))?,
        };
        let params = Params::try_from(&phc).map_err(|_| malformed(SCHEME))?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if memory > MAX_ARGON2_KIB
            || passes > MAX_ARGON2_PASSES
            || lanes > MAX_ARGON2_LANES
            || u64::from(memory) * u64::from(passes) > MAX_ARGON2_WORK
        {
            let what = format!(
                "{memory} KiB, {passes} passes and {lanes} lanes; at most {MAX_ARGON2_KIB}, {MAX_ARGON2_PASSES} and \
                 {MAX_ARGON2_LANES} are computed, and {MAX_ARGON2_WORK} KiB in all passes"
            );
            return Err(too_dear(SCHEME, what));
        }
        if !params.keyid().is_empty() {
            return Err(refused("argon2 with a key id", "it was made with a secret that is not in it"));
        }
        let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else { return Err(malformed(SCHEME)) };
        let (salt, expected) = (salt.as_ref().to_vec(), expected.as_bytes().to_vec());
        if salt.len() < 8 || !(MIN_OUTPUT..=MAX_OUTPUT).contains(&expected.len()) {
            return Err(malformed(SCHEME));
        }
        Ok(Self { algorithm, version, params, salt, expected })
    }

    /// Blocks in which it works.
    pub(super) fn blocks(&self) -> usize {
        self.params.block_count()
    }

    /// In memory of [`blocks`](Self::blocks).
    pub(super) fn verify(&self, password: &[u8], memory: &mut [Block]) -> Result<bool> {
        let mut output = Zeroizing::new(vec![0; self.expected.len()]);
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let done = argon2.hash_password_into_with_memory(password, &self.salt, &mut output, &mut *memory);
        // The first blocks depend on the password alone, and after one pass they are still there.
        memory.fill(Block::default());
        done.map_err(|error| computing(SCHEME, error))?;
        Ok(same(&output, &self.expected))
    }
}
