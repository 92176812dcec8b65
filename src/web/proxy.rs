//! What stands in front of us, and what of its headers is believed.
//!
//! Nothing forwarded is believed unless the connection comes from a configured range. Even then it
//! only tells the log where a request came from: the gate's own origin is always the configured one,
//! never a `Host` or a forwarded header.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Which header a trusted proxy writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: addresses with commas between, each proxy appends the one it saw.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose word is taken for where a request came from.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Their addresses; none means that nothing forwarded is believed.
    pub ranges: Vec<IpNet>,
    /// The header that they write.
    pub header: Option<ForwardingHeader>,
}

impl TrustedProxies {
    /// Where a request came from: the last address in the chain that is not a trusted proxy.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let Some(header) = self.header else { return peer };
        let mut address = peer;
        let mut chain = forwarded_addresses(header, headers);
        // From the nearest proxy outwards, for as long as a trusted one speaks.
        while self.ranges.iter().any(|range| range.contains(&address)) {
            match chain.pop() {
                Some(Some(next)) => address = next,
                Some(None) | None => break,
            }
        }
        address
    }
}

/// The addresses in the header, the farthest first; `None` for one that cannot be read.
fn forwarded_addresses(header: ForwardingHeader, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let name = match header {
        ForwardingHeader::XForwardedFor => "x-forwarded-for",
        ForwardingHeader::Forwarded => "forwarded",
    };
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let elements = values.flat_map(|value| value.split(','));
    elements
        .map(|element| match header {
            ForwardingHeader::XForwardedFor => address_of(element),
            ForwardingHeader::Forwarded => element
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='))
                .find(|(name, _)| name.eq_ignore_ascii_case("for"))
                .and_then(|(_, value)| address_of(value)),
        })
        .collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `"[2001:db8::1]:80"`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    text.parse().ok().or_else(|| text.rsplit_once(':')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(
        trusted: &[&str],
        header: ForwardingHeader,
        name: &'static str,
        value: &str,
    ) -> String {
        let proxies = TrustedProxies {
            ranges: trusted.iter().map(|range| range.parse().unwrap()).collect(),
            header: Some(header),
        };
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        proxies.client_address("10.0.0.9".parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let x = |trusted: &[&str], value| {
            client(trusted, ForwardingHeader::XForwardedFor, "x-forwarded-for", value)
        };
        assert_eq!(x(&[], "192.0.2.1"), "10.0.0.9");
        assert_eq!(x(&["10.0.0.0/8"], "192.0.2.1"), "192.0.2.1");
        assert_eq!(x(&["10.0.0.0/8"], "198.51.100.7, 192.0.2.1, 10.1.1.1"), "192.0.2.1");
        assert_eq!(x(&["10.0.0.0/8"], "nonsense"), "10.0.0.9");
        let forwarded =
            |value| client(&["10.0.0.0/8"], ForwardingHeader::Forwarded, "forwarded", value);
        assert_eq!(forwarded("for=\"[2001:db8::1]:443\";proto=https"), "2001:db8::1");
        assert_eq!(forwarded("proto=https"), "10.0.0.9");
    }
}
