//! What is fit for one machine alone (plain HTTP, Cloud Run without credentials) is refused unless
//! everything is on that machine: a half-real gate would be trusted like a real one.

use std::net::SocketAddr;

use url::{Host, Url};

use crate::config::check::Check;

/// Checks the addresses collected so far against each other. `anonymous` are the keys by which Cloud Run is
/// reached without credentials.
pub(super) fn check(check: &mut Check, listen: Option<SocketAddr>, anonymous: &[String]) {
    let endpoints = std::mem::take(&mut check.endpoints);
    let mut far: Vec<String> = endpoints
        .iter()
        .filter(|(_, url)| !is_loopback(url))
        .map(|(key, url)| format!("{key} ({})", url.host_str().unwrap_or_default()))
        .collect();
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) {
        far.push(format!("listen ({listen})"));
    }
    let mut unsafe_keys = Vec::new();
    for (key, url) in endpoints.iter().filter(|(_, url)| url.scheme() == "http") {
        if is_loopback(url) {
            unsafe_keys.push(key.as_str());
        } else {
            check.problem(
                key,
                format!("{url} can be read and changed on its way, and the gate trusts what comes from there: use https"),
            );
        }
    }
    unsafe_keys.extend(anonymous.iter().map(String::as_str));
    if !unsafe_keys.is_empty() && !far.is_empty() {
        let remedy = "use https and \"application-default\", or bring everything to loopback";
        let verb = if far.len() == 1 { "is" } else { "are" };
        check.problem(
            &unsafe_keys.join(", "),
            format!(
                "http and anonymous credentials are for a gate whose whole world is this machine, \
                 and {} {verb} not: {remedy}",
                far.join(", ")
            ),
        );
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_and_no_name_that_looks_like_it() {
        for near in ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]"] {
            assert!(is_loopback(&near.parse().unwrap()), "{near}");
        }
        for far in
            ["http://localhost.example.com", "http://0.0.0.0", "http://10.0.0.1", "http://[::]"]
        {
            assert!(!is_loopback(&far.parse().unwrap()), "{far}");
        }
    }
}
