//! The base64 blobs of ASP.NET Core Identity: version 2 (SHA-1, 1,000 iterations) and version 3, which says in its
//! header which digest and how many iterations. Only the first byte tells them from other base64.

use super::pbkdf::{Pbkdf, Prf};
use super::{base64, malformed, unknown};
use crate::error::Result;

const SCHEME: &str = "ASP.NET Identity";
/// Version 2: the marker, 16 bytes of salt, 32 of output.
const V2: usize = 1 + 16 + 32;
/// Version 3: the marker, and three numbers of four bytes.
const HEADER: usize = 1 + 3 * 4;

pub(super) fn parse(stored: &str) -> Result<Pbkdf> {
    let blob = base64(stored).ok_or_else(unknown)?;
    match blob.split_first() {
        Some((0, rest)) if blob.len() == V2 => {
            let (salt, expected) = rest.split_at_checked(16).ok_or_else(|| malformed(SCHEME))?;
            Pbkdf::new(Prf::Sha1, 1000, salt.to_vec(), expected.to_vec())
        }
        Some((1, _)) if blob.len() > HEADER && stored.starts_with("AQAAAA") => version_3(&blob),
        _ => Err(unknown()),
    }
}

fn version_3(blob: &[u8]) -> Result<Pbkdf> {
    let number = |at: usize| {
        let bytes: [u8; 4] = blob.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let parts = || {
        let prf = match number(1)? {
            0 => Prf::Sha1,
            1 => Prf::Sha256,
            2 => Prf::Sha512,
            _ => return None,
        };
        let (salt, expected) = blob.get(HEADER..)?.split_at_checked(usize::try_from(number(9)?).ok()?)?;
        // The same bounds as there: 128 bits of salt at least.
        (salt.len() >= 16).then(|| (prf, number(5), salt.to_vec(), expected.to_vec()))
    };
    match parts() {
        Some((prf, Some(iterations), salt, expected)) => Pbkdf::new(prf, iterations, salt, expected),
        _ => Err(malformed(SCHEME)),
    }
}
