//! Networks: an address with its last bits cut off, so that neighbours count as one place.

use crate::error::{Error, Result};
use crate::id::Key;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// An IP network, such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// How many leading bits of an address make its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
}

impl Network {
    /// The network of an address. An IPv4 address written as an IPv6 one (`::ffff:192.0.2.1`) is an IPv4 address.
    pub(crate) fn of(address: IpAddr, prefixes: Prefixes) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let prefix = prefixes.v4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { address: IpAddr::V4((u32::from(v4) & mask).into()), prefix }
            }
            IpAddr::V6(v6) => {
                let prefix = prefixes.v6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { address: IpAddr::V6((u128::from(v6) & mask).into()), prefix }
            }
        }
    }

    /// The network of that many leading bits that an address lies in; the bits behind them are cut off. `192.0.2.77` with
    /// 24 is `192.0.2.0/24`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for more bits than the address has: 32, or 128.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self> {
        let (most, found) = match address.to_canonical() {
            v4 @ IpAddr::V4(_) => (32, v4),
            v6 @ IpAddr::V6(_) => (128, v6),
        };
        if prefix > most {
            return Err(Error::invalid("network", format!("has {prefix} bits; {found} has {most}")));
        }
        Ok(Self::of(found, Prefixes { v4: prefix, v6: prefix }))
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address, Prefixes { v4: self.prefix, v6: self.prefix }) == *self
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits its addresses share.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Family, prefix and address: two networks of different length never share a key.
impl Key for Network {
    fn write(&self, out: &mut Vec<u8>) {
        match self.address {
            IpAddr::V4(v4) => {
                out.extend_from_slice(&[4, self.prefix]);
                out.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                out.extend_from_slice(&[6, self.prefix]);
                out.extend_from_slice(&v6.octets());
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let address = match bytes {
            [4, _, rest @ ..] => <[u8; 4]>::try_from(rest).ok().map(IpAddr::from),
            [6, _, rest @ ..] => <[u8; 16]>::try_from(rest).ok().map(IpAddr::from),
            _ => None,
        };
        match (address, bytes) {
            (Some(address), [_, prefix, ..]) => Ok(Self { address, prefix: *prefix }),
            _ => Err(Error::damaged(format!("a stored key of {} bytes is no network", bytes.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_last_bits() {
        let of = |text: &str, v4, v6| Network::of(text.parse().unwrap(), Prefixes { v4, v6 }).to_string();
        for (address, v4, v6, network) in [
            ("192.0.2.77", 24, 48, "192.0.2.0/24"),
            ("192.0.2.77", 32, 48, "192.0.2.77/32"),
            ("192.0.2.77", 0, 48, "0.0.0.0/0"),
            ("192.0.2.77", 255, 48, "192.0.2.77/32"),
            ("::ffff:192.0.2.77", 24, 48, "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", 24, 48, "2001:db8:1::/48"),
            ("2001:db8:1:2:3::4", 24, 0, "::/0"),
            ("2001:db8:1:2:3::4", 24, 128, "2001:db8:1:2:3::4/128"),
        ] {
            assert_eq!(of(address, v4, v6), network);
        }
    }

    #[test]
    fn a_network_has_the_addresses_of_its_leading_bits() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let net = Network::new(ip("192.0.2.77"), 24).unwrap();
        assert_eq!(net.to_string(), "192.0.2.0/24");
        assert!(net.contains(ip("192.0.2.255")) && net.contains(ip("::ffff:192.0.2.1")));
        assert!(!net.contains(ip("192.0.3.0")) && !net.contains(ip("::")));
        let all = Network::new(ip("::1"), 0).unwrap();
        assert!(all.contains(ip("2001:db8::1")) && !all.contains(ip("192.0.2.1")));
        assert!(Network::new(ip("2001:db8::1"), 128).unwrap().contains(ip("2001:db8::1")));
        for (address, prefix) in [("192.0.2.1", 33), ("::ffff:192.0.2.1", 33), ("::1", 129)] {
            assert_eq!(Network::new(ip(address), prefix).unwrap_err().field(), Some("network"));
        }
    }

    #[test]
    fn keys_read_back_and_differ_where_networks_do() {
        let mut keys = std::collections::BTreeSet::new();
        for address in ["0.0.0.0", "192.0.2.0", "::", "2001:db8::"] {
            for prefix in [0, 24, 32] {
                let network = Network::of(address.parse().unwrap(), Prefixes { v4: prefix, v6: prefix });
                assert_eq!(Network::read(&network.bytes()).unwrap(), network);
                keys.insert(network.bytes());
            }
        }
        assert_eq!(keys.len(), 10, "the two with a prefix of 0 are one in each family");
        for bad in [&[][..], &[4, 24, 1], &[5, 24, 1, 2, 3, 4], &[6, 48, 1, 2, 3, 4]] {
            assert!(Network::read(bad).is_err());
        }
    }
}
