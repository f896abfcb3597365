//! scrypt (RFC 7914) in the forms of the PHC string format, which passlib shares, and of Django.

use super::{
    MAX_MEMORY, MAX_OUTPUT, MAX_SCRYPT_WORK, MIN_OUTPUT, UNCOUNTED, base64, computing, fields, malformed,
    number, numbers, same, too_dear,
};
use crate::error::Result;
use scrypt::Params;
use zeroize::Zeroizing;

const SCHEME: &str = "scrypt";

pub(super) struct Scrypt {
    params: Params,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

/// The parameters, where they are within the bounds.
pub(super) fn bounded(scheme: &'static str, log_n: u32, r: u32, p: u32) -> Result<Params> {
    if log_n == 0 || r == 0 || p == 0 {
        return Err(malformed(scheme));
    }
    let n = 1u64.checked_shl(log_n).unwrap_or(u64::MAX);
    let work = n.saturating_mul(u64::from(r)).saturating_mul(u64::from(p));
    if memory_of(n, r, p) > MAX_MEMORY + UNCOUNTED || work > MAX_SCRYPT_WORK {
        let what = format!(
            "N = 2^{log_n}, r = {r} and p = {p}; at most {MAX_MEMORY} bytes (128 x r x (N + p)) and a product N x r x \
             p of {MAX_SCRYPT_WORK} are computed"
        );
        return Err(too_dear(scheme, what));
    }
    let log_n = u8::try_from(log_n).map_err(|_| malformed(scheme))?;
    Params::new(log_n, r, p).map_err(|error| computing(scheme, error))
}

/// Bytes in which scrypt works, one lane after the other: the table, the lanes and the block that is mixed.
fn memory_of(n: u64, r: u32, p: u32) -> u64 {
    let blocks = n.saturating_add(u64::from(p)).saturating_add(1);
    blocks.saturating_mul(u64::from(r)).saturating_mul(128)
}

/// The same of parameters that are within the bounds.
pub(super) fn memory(params: &Params) -> u64 {
    memory_of(1u64.checked_shl(params.log_n().into()).unwrap_or(u64::MAX), params.r(), params.p())
}

impl Scrypt {
    /// Bytes that verifying it takes.
    pub(super) fn memory(&self) -> u64 {
        memory(&self.params)
    }

    fn new(log_n: u32, r: u32, p: u32, salt: Vec<u8>, expected: Vec<u8>) -> Result<Self> {
        if salt.is_empty() || !(MIN_OUTPUT..=MAX_OUTPUT).contains(&expected.len()) {
            return Err(malformed(SCHEME));
        }
        Ok(Self { params: bounded(SCHEME, log_n, r, p)?, salt, expected })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool> {
        let mut output = Zeroizing::new(vec![0; self.expected.len()]);
        scrypt::scrypt(password, &self.salt, &self.params, &mut output)
            .map_err(|error| computing(SCHEME, error))?;
        Ok(same(&output, &self.expected))
    }
}

/// `$scrypt$ln=16,r=8,p=1$salt$hash`.
pub(super) fn modular(rest: &str) -> Result<Scrypt> {
    let parts = || {
        let [cost, salt, hash] = fields(rest)?;
        Some((numbers(cost, ["ln", "r", "p"])?, base64(salt)?, base64(hash)?))
    };
    let ([log_n, r, p], salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
    Scrypt::new(log_n, r, p, salt, expected)
}

/// Django: `scrypt$16384$salt$8$5$hash`. The salt is the text itself.
pub(super) fn django(rest: &str) -> Result<Scrypt> {
    let parts = || {
        let [n, salt, r, p, hash] = fields(rest)?;
        let n = number(n)?;
        let log_n = n.is_power_of_two().then(|| n.trailing_zeros())?;
        Some(([log_n, number(r)?, number(p)?], salt.as_bytes().to_vec(), base64(hash)?))
    };
    let ([log_n, r, p], salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
    Scrypt::new(log_n, r, p, salt, expected)
}
