//! Which URLs from outside are asked or told something: those that an operator has named, at addresses that are on the
//! internet or that the operator has named, too. It decides; [`super::post`] looks names up and connects.
//!
//! A name is judged twice: as it is written, and by each address that it has. So neither a URL to loopback, nor a name
//! that means loopback, nor one that means something else a moment later, reaches what only this machine may reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::net::HttpUrl;

/// One entry of an allow-list: `HOST`, `*.DOMAIN`, `ADDRESS` or `ADDRESS/BITS`, each with `:PORT` or `:*` behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    whom: Whom,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Host(String),
    /// `.example.com`: all names below, and not the domain itself.
    Below(String),
    Network(IpAddr, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// Those of the schemes, 80 and 443: an entry that names none is no leave to try all.
    Usual,
    One(u16),
    Any,
}

/// Why a text is no entry of an allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AllowedError {
    /// Nothing of what there is.
    #[error(
        "expected `HOST`, `*.DOMAIN`, `ADDRESS` or `ADDRESS/BITS`, with `:PORT` or `:*` where it is not 80 or 443"
    )]
    Form,
    /// No number up to 65535.
    #[error("the port must be a number from 1 to 65535, or `*`")]
    Port,
    /// More bits than the address has.
    #[error("the address has fewer bits than that")]
    Bits,
}

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let (whom, ports) = split(text)?;
        let ports = match ports {
            None => Ports::Usual,
            Some("*") => Ports::Any,
            Some(port) => Ports::One(port.parse().ok().filter(|port| *port > 0).ok_or(AllowedError::Port)?),
        };
        Ok(Self { whom: whom.parse()?, ports })
    }
}

/// An address of version 6 stands in brackets where a port follows.
fn split(text: &str) -> Result<(&str, Option<&str>), AllowedError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(AllowedError::Form)?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((address, None)),
            (_, Some(port)) => Ok((address, Some(port))),
            _ => Err(AllowedError::Form),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(port))),
        _ => Ok((text, None)),
    }
}

impl FromStr for Whom {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        if let Ok(address) = text.parse() {
            return network(address, None);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address = address.parse().map_err(|_| AllowedError::Form)?;
            return network(address, Some(bits.parse().map_err(|_| AllowedError::Bits)?));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !name.split('.').all(is_label) {
            return Err(AllowedError::Form);
        }
        Ok(if text.starts_with("*.") { Self::Below(format!(".{name}")) } else { Self::Host(name) })
    }
}

fn network(address: IpAddr, bits: Option<u8>) -> Result<Whom, AllowedError> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    if bits > most {
        return Err(AllowedError::Bits);
    }
    // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    match (address.to_canonical(), bits.checked_sub(96)) {
        (canonical @ IpAddr::V4(_), Some(rest)) if address.is_ipv6() => Ok(Whom::Network(canonical, rest)),
        _ => Ok(Whom::Network(address, bits)),
    }
}

impl Whom {
    fn contains(&self, address: IpAddr) -> bool {
        let Self::Network(network, bits) = self else { return false };
        match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }

    fn is_named(&self, name: &str) -> bool {
        match self {
            Self::Host(host) => host == name,
            Self::Below(domain) => name.len() > domain.len() && name.ends_with(domain.as_str()),
            Self::Network(..) => false,
        }
    }
}

impl Ports {
    fn contain(self, port: u16) -> bool {
        match self {
            Self::Usual => [80, 443].contains(&port),
            Self::One(one) => one == port,
            Self::Any => true,
        }
    }
}

/// Why nothing is sent there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nobody has named it.
    #[error("`{host}:{port}` is not allowed; allow it with {option} {}", Named(.host, *.port))]
    Host {
        /// As it is written.
        host: String,
        /// The one named, or the scheme's.
        port: u16,
        /// The option that the allow-list is made with.
        option: &'static str,
    },
    /// Credentials in a URL end in logs.
    #[error("a URL with a user or a password is not taken")]
    User,
    /// Not on the internet, and nobody has named the address.
    #[error(
        "`{host}` has the address {address}, which is {what}; where that is right, allow it with {option} {address}"
    )]
    Address {
        /// As it is written.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// What the address is for.
        what: &'static str,
        /// The option that the allow-list is made with.
        option: &'static str,
    },
    /// Whoever allows it.
    #[error("`{host}` has the address {address}, {what}; nothing is ever sent there")]
    Never {
        /// As it is written.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// What the address is for.
        what: &'static str,
    },
}

/// An entry that would allow a host.
struct Named<'a>(&'a String, u16);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match (Ports::Usual.contain(*port), host.contains(':')) {
            (true, _) => f.write_str(host),
            (false, true) => write!(f, "[{host}]:{port}"),
            (false, false) => write!(f, "{host}:{port}"),
        }
    }
}

/// An allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    allowed: Vec<Allowed>,
    option: &'static str,
}

impl Guard {
    /// `option` is how an operator adds to it.
    #[must_use]
    pub fn new(allowed: Vec<Allowed>, option: &'static str) -> Self {
        Self { allowed, option }
    }

    /// Judges a URL as it is written.
    pub fn judge(&self, url: &HttpUrl) -> Result<(), Refusal> {
        if url.user.is_some() || url.password.is_some() {
            return Err(Refusal::User);
        }
        let (host, port) = (url.host(), url.port());
        let is_whom = |whom: &Whom| match host.parse() {
            Ok(address) => of(address).iter().any(|address| whom.contains(*address)),
            Err(_) => whom.is_named(host),
        };
        let is_allowed = |entry: &Allowed| is_whom(&entry.whom) && entry.ports.contain(port);
        if self.allowed.iter().any(is_allowed) {
            return Ok(());
        }
        Err(Refusal::Host { host: host.to_owned(), port, option: self.option })
    }

    /// Judges what the name means now: all of it has to be good, for which of them is connected to is not known.
    pub fn judge_addresses(&self, url: &HttpUrl, addresses: &[SocketAddr]) -> Result<(), Refusal> {
        addresses.iter().try_for_each(|address| self.judge_address(url, address.ip()))
    }

    fn judge_address(&self, url: &HttpUrl, address: IpAddr) -> Result<(), Refusal> {
        let host = url.host().to_owned();
        let forms = of(address);
        let is_named = |form: &IpAddr| self.allowed.iter().any(|entry| entry.whom.contains(*form));
        // The innermost is where it leads.
        match forms.last().map(|form| place(*form)) {
            Some(Place::Internet) => Ok(()),
            Some(Place::Inside(_)) if forms.iter().any(is_named) => Ok(()),
            Some(Place::Inside(what)) => Err(Refusal::Address { host, address, what, option: self.option }),
            Some(Place::Never(what)) => Err(Refusal::Never { host, address, what }),
            None => Err(Refusal::Never { host, address, what: "which leads nowhere" }),
        }
    }
}

/// An address, and the one of version 4 that it stands for, if it does.
fn of(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(six) = address else { return vec![address] };
    if let Some(four) = six.to_ipv4_mapped() {
        return vec![four.into()];
    }
    let four = embedded(six).map(IpAddr::V4);
    std::iter::once(address).chain(four).collect()
}

/// What NAT64 (RFC 6052), 6to4 (RFC 3056) and the form of RFC 4291, 2.5.5.1 make of an address.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(last(high, low)),
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => Some(last(high, low)),
        _ => None,
    }
}

enum Place {
    Internet,
    /// For those who were allowed.
    Inside(&'static str),
    Never(&'static str),
}

const METADATA: &str = "where clouds keep the secrets of their machines";

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_of_four(address),
        IpAddr::V6(address) => place_of_six(address),
    }
}

/// By the special-purpose address registry of IANA.
fn place_of_four(address: Ipv4Addr) -> Place {
    match address.octets() {
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [168, 63, 129, 16]
        | [192, 0, 0, 192] => Place::Never(METADATA),
        [0, ..] => Place::Never("which is no host's"),
        [224..=239, ..] => Place::Never("which is multicast"),
        [240..=255, ..] => Place::Never("which is reserved or broadcast"),
        [127, ..] => Place::Inside("loopback"),
        [169, 254, ..] => Place::Inside("link-local"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Place::Inside("private"),
        [100, 64..=127, ..] => Place::Inside("private to a provider"),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Place::Inside("not on the internet")
        }
        _ => Place::Internet,
    }
}

fn place_of_six(address: Ipv6Addr) -> Place {
    match address.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Place::Never(METADATA)
        }
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Never("which is no host's"),
        [0xff00..=0xffff, ..] => Place::Never("which is multicast"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Inside("loopback"),
        [0xfe80..=0xfebf, ..] => Place::Inside("link-local"),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Place::Inside("private"),
        // Protocols (Teredo among them), documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Inside("not on the internet"),
        [0x2000..=0x3fff, ..] => Place::Internet,
        _ => Place::Inside("not on the internet"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(entries: &[&str]) -> Guard {
        Guard::new(entries.iter().map(|entry| entry.parse().unwrap()).collect(), "--allow-host")
    }

    fn url(text: &str) -> HttpUrl {
        text.parse().unwrap()
    }

    fn takes(guard: &Guard, host: &str, address: &str) -> bool {
        let address = SocketAddr::new(address.parse().unwrap(), 443);
        guard.judge_addresses(&url(&format!("https://{host}/")), &[address]).is_ok()
    }

    /// What nobody outside may reach through this program.
    const INSIDE: [&str; 25] = [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "::1",
        "fe80::1",
        "febf::1",
        "fc00::1",
        "fdff::1",
        "fec0::1",
        "2001::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "100::1",
    ];

    /// What nobody may reach.
    const NEVER: [&str; 17] = [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::",
        "::169.254.169.254",
    ];

    #[test]
    fn a_name_that_means_what_is_inside_is_refused() {
        let guard = guard(&["hooks.example.com"]);
        for address in INSIDE.iter().chain(&NEVER) {
            assert!(!takes(&guard, "hooks.example.com", address), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
            assert!(takes(&guard, "hooks.example.com", address), "{address}");
        }
    }

    #[test]
    fn one_bad_address_among_good_ones_is_enough() {
        let (guard, url) = (guard(&["example.com"]), url("https://example.com/"));
        let good = "1.1.1.1:443".parse().unwrap();
        assert_eq!(guard.judge_addresses(&url, &[good]), Ok(()));
        let refusal = guard.judge_addresses(&url, &[good, "127.0.0.1:443".parse().unwrap()]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "`example.com` has the address 127.0.0.1, which is loopback; where that is right, allow it with \
             --allow-host 127.0.0.1"
        );
    }

    #[test]
    fn what_is_inside_is_reached_where_its_address_is_allowed_and_metadata_never() {
        let guard = guard(&["chat.lan", "0.0.0.0/0", "::/0"]);
        for address in INSIDE {
            assert!(takes(&guard, "chat.lan", address), "{address}");
        }
        for address in NEVER {
            assert!(!takes(&guard, "chat.lan", address), "{address}");
        }
    }

    #[test]
    fn a_network_is_as_large_as_it_says() {
        let guard = guard(&["chat.lan", "10.1.0.0/16", "::ffff:10.9.0.0/112", "fd00:1::/32", "192.168.0.7"]);
        for (address, is_taken) in [
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("10.9.1.1", true),
            ("10.8.1.1", false),
            ("fd00:1:ffff::1", true),
            ("fd00:2::1", false),
            ("192.168.0.7", true),
            ("192.168.0.6", false),
        ] {
            assert_eq!(takes(&guard, "chat.lan", address), is_taken, "{address}");
        }
    }

    #[test]
    fn only_hosts_and_ports_that_are_named_are_asked() {
        let guard = guard(&[
            "ping.telex.im",
            "*.example.com",
            "stats.lan:8404",
            "any.lan:*",
            "10.0.0.0/8:81",
            "[::1]:82",
        ]);
        for (text, is_allowed) in [
            ("https://ping.telex.im/v1/x", true),
            ("http://PING.Telex.im./x", true),
            ("https://ping.telex.im:8443/x", false),
            ("https://telex.im/", false),
            ("https://ping.telex.im.evil.net/", false),
            ("https://evilping.telex.im/", false),
            ("https://a.example.com/", true),
            ("https://a.b.example.com/", true),
            ("https://example.com/", false),
            ("https://.example.com/", false),
            ("https://aexample.com/", false),
            ("http://stats.lan:8404/;csv", true),
            ("http://stats.lan/;csv", false),
            ("http://any.lan:1/", true),
            ("http://10.1.2.3:81/", true),
            ("http://10.1.2.3/", false),
            ("http://11.1.2.3:81/", false),
            ("http://[::1]:82/", true),
            ("http://[::ffff:10.0.0.1]:81/", true),
            ("http://[64:ff9b::10.0.0.1]:81/", true),
            // What the system's resolver makes an address of is a name here, and nobody has named it.
            ("http://167772161:81/", false),
            ("http://0x0a000001:81/", false),
            ("http://10.1:81/", false),
        ] {
            assert_eq!(guard.judge(&url(text)).is_ok(), is_allowed, "{text}");
        }
    }

    #[test]
    fn a_url_with_credentials_is_refused_whatever_they_look_like() {
        let guard = guard(&["example.com", "evil.net"]);
        for text in ["https://example.com@evil.net/", "https://a:b@example.com/", "https://@example.com/"] {
            assert_eq!(guard.judge(&url(text)), Err(Refusal::User), "{text}");
        }
    }

    #[test]
    fn an_allow_list_of_nothing_allows_nothing_and_says_what_would() {
        let refused = |text: &str| guard(&[]).judge(&url(text)).unwrap_err().to_string();
        assert_eq!(
            refused("https://a.example.com/secret"),
            "`a.example.com:443` is not allowed; allow it with --allow-host a.example.com"
        );
        assert!(refused("http://[fd00::1]:8404/").ends_with("allow it with --allow-host [fd00::1]:8404"));
    }

    #[test]
    fn what_is_no_entry_is_an_error() {
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            ".a",
            "a b",
            "http://a",
            "a/b",
            "10.0.0.0/x",
            "[::1",
            "[::1]x",
            "*.*.a",
            "a*b",
        ] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
        for text in ["10.0.0.0/33", "::/129"] {
            assert_eq!(text.parse::<Allowed>(), Err(AllowedError::Bits), "{text}");
        }
        for text in ["a:", "a:0", "a:65536", "a:b"] {
            assert_eq!(text.parse::<Allowed>(), Err(AllowedError::Port), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_form_an_address_of_version_4_takes_it_is_judged_the_same(bits in any::<u32>()) {
            let four = Ipv4Addr::from_bits(bits);
            let guard = guard(&["example.com"]);
            let judged = takes(&guard, "example.com", &four.to_string());
            let [a, b, c, d] = four.octets();
            for form in [format!("::ffff:{four}"), format!("64:ff9b::{four}"), format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::")] {
                prop_assert_eq!(takes(&guard, "example.com", &form), judged, "{}", form);
            }
        }

        #[test]
        fn what_is_inside_a_named_network_is_allowed_there(bits in any::<u128>(), length in 0_u8..=128) {
            let address = Ipv6Addr::from_bits(bits);
            let entry: Allowed = format!("{address}/{length}").parse().unwrap();
            let canonical = IpAddr::V6(address).to_canonical();
            prop_assume!(canonical.is_ipv6());
            prop_assert!(entry.whom.contains(canonical));
            let other = bits ^ 1_u128.checked_shl(128 - u32::from(length)).unwrap_or(0);
            prop_assert_eq!(entry.whom.contains(Ipv6Addr::from_bits(other).into()), length == 0);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9.:/*\\[\\]@-]{0,40}") {
            let _ = text.parse::<Allowed>();
            if let Ok(url) = format!("http://{text}/").parse::<HttpUrl>() {
                let _ = guard(&["a.b", "10.0.0.0/8"]).judge(&url);
            }
        }
    }
}
