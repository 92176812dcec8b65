//! Which addresses a name may lead to, where the name stands in a configuration and the answer of a name
//! server does not: public ones, so that nobody who controls a name gets at what is behind our firewall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// IPv4 that is no public unicast address: the IANA special-purpose registry (RFC 6890 and its updates),
/// multicast (RFC 5771) and what is reserved.
const NOT_PUBLIC: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Public unicast IPv6 (RFC 4291, section 2.4).
const PUBLIC_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// What of it is not: protocol assignments with Teredo, documentation, and 6to4, which hides IPv4.
const NOT_PUBLIC_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// IPv4 behind a translator (RFC 6052): as public as the address inside.
const TRANSLATED: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// How far connections may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// To public addresses alone.
    Public,
    /// To this machine as well: for a gate whose own origin is there, as in the demo.
    WithLoopback,
}

impl Reach {
    /// Whether a connection may be made to this address.
    pub fn admits(self, address: IpAddr) -> bool {
        is_public(address) || (self == Self::WithLoopback && address.is_loopback())
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC.iter().any(|range| holds_v4(*range, address)),
        IpAddr::V6(address) => {
            if let Some(inside) = address.to_ipv4_mapped() {
                return is_public(IpAddr::V4(inside));
            }
            if holds_v6(TRANSLATED, address) {
                let [.., a, b, c, d] = address.octets();
                return is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
            }
            holds_v6(PUBLIC_V6, address)
                && !NOT_PUBLIC_V6.iter().any(|range| holds_v6(*range, address))
        }
    }
}

fn holds_v4((network, length): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    Ipv4Net::new(network, length).is_ok_and(|range| range.contains(&address))
}

fn holds_v6((network, length): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    Ipv6Net::new(network, length).is_ok_and(|range| range.contains(&address))
}

/// Looks a name up once, for one connection, and gives only addresses that may be connected to. What is
/// checked is what is connected to: nobody looks the name up again.
#[derive(Clone, Copy, Debug)]
pub struct CheckedNames(pub Reach);

/// A name that leads nowhere where a connection may go.
#[derive(Debug, thiserror::Error)]
#[error("{name} leads to {found}, which is no public address: nothing is sent there")]
struct NotPublic {
    name: String,
    found: String,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One address out of place makes the whole answer one that is not to be trusted.
            match found.iter().find(|address| !reach.admits(address.ip())) {
                Some(other) => {
                    let found = other.ip().to_string();
                    Err(NotPublic { name, found }.into())
                }
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

impl CheckedNames {
    /// As reqwest takes it.
    pub fn shared(reach: Reach) -> Arc<dyn Resolve> {
        Arc::new(Self(reach))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_public_in_any_spelling() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.7",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2001::1",
            "::10.0.0.1",
            "fec0::1",
            "3fff::1",
        ] {
            let address: IpAddr = private.parse().unwrap();
            assert!(!Reach::Public.admits(address), "{private}");
            assert_eq!(Reach::WithLoopback.admits(address), address.is_loopback(), "{private}");
        }
        for public in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            let address: IpAddr = public.parse().unwrap();
            assert!(
                Reach::Public.admits(address) && Reach::WithLoopback.admits(address),
                "{public}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused() {
        let name = || "localhost".parse::<Name>().unwrap();
        let refused = CheckedNames(Reach::Public).resolve(name()).await.err().unwrap();
        assert!(refused.to_string().contains("which is no public address"), "{refused}");
        let found = CheckedNames(Reach::WithLoopback).resolve(name()).await.unwrap();
        assert!(found.count() > 0);
    }
}
