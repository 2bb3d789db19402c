//! The proxy on the way to a provider, with the meaning that Prometheus and Go give to `no_proxy`
//! and to `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment.

use std::env;
use std::net::IpAddr;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::Proxy;
use super::http_client::ClientKeys;
use super::secret::{self, Secret};
use super::validate::Validator;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::scalar::UrlText;
use crate::yaml::span::Location;

/// The schemes of a proxy.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// Advice for a URL that is not that of a proxy.
const HINT: &str = "write http://host:port; the schemes are http, https, socks5 and socks5h";

/// Advice for an entry of `no_proxy` that matches nothing.
const ENTRY_HINT: &str =
    "write a domain, an IP address or a network such as 10.0.0.0/8, without a scheme";

impl Validator<'_> {
    /// Returns the proxy on the way to `base_url`, by the rules of Prometheus between its keys.
    pub fn proxy(&self, keys: &ClientKeys<'_>, base_url: Option<&Url>) -> Option<Proxy> {
        let url = keys.proxy_url;
        let no_proxy = keys.no_proxy.located().filter(|(_, list)| !list.is_empty());
        let from_environment = keys.proxy_from_environment.located().filter(|(_, is_set)| **is_set);
        if let Some((location, _)) = from_environment {
            if !url.is_absent() {
                let diagnostic =
                    Diagnostic::new(location, "both proxy_url and proxy_from_environment are set");
                self.report(diagnostic.hint("remove one of them"));
            } else if let Some((location, _)) = no_proxy {
                let diagnostic =
                    Diagnostic::new(location, "both no_proxy and proxy_from_environment are set");
                self.report(diagnostic.hint("write the hosts into the variable NO_PROXY"));
            }
            return self.proxy_of_environment(location, base_url?);
        }
        if let (true, Some((location, _))) = (url.is_absent(), no_proxy) {
            let diagnostic = Diagnostic::new(location, "no_proxy needs proxy_url");
            self.report(diagnostic.hint("name the proxy in proxy_url"));
        }
        let (location, UrlText(text)) = url.located()?;
        if secret::is_unfilled(text) {
            let diagnostic = Diagnostic::new(location, "an unresolved placeholder");
            self.report(diagnostic.hint(secret::UNFILLED));
            return None;
        }
        if parse_url(text).is_none() {
            self.report(Diagnostic::new(location, "not a proxy URL").hint(HINT));
            return None;
        }
        if let Some((location, list)) = no_proxy {
            for entry in list.split(',').map(str::trim).filter(|entry| !is_entry(entry)) {
                let diagnostic = Diagnostic::new(location, "not a host of no_proxy").quote(entry);
                self.report(diagnostic.hint(ENTRY_HINT));
            }
        }
        // Without a list Prometheus asks even this machine through the proxy.
        let is_used = match no_proxy {
            Some((_, list)) => is_proxied(base_url?, list),
            None => true,
        };
        let url = Secret::inline(text);
        is_used.then_some(Proxy { url, is_from_environment: false })
    }

    fn proxy_of_environment(&self, location: Location, base_url: &Url) -> Option<Proxy> {
        let environment = Environment::read(base_url);
        let Ok(url) = environment.proxy(base_url) else {
            let variable = environment.variable;
            let message = format!("the variable {variable} is not a proxy URL");
            self.report(Diagnostic::new(location, message).hint(HINT));
            return None;
        };
        Some(Proxy { url: Secret::Inline(url?), is_from_environment: true })
    }
}

/// Returns a URL as that of a proxy, if it can be one.
fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    (SCHEMES.contains(&url.scheme()) && has_host).then_some(url)
}

/// The environment's variables about proxies, for one scheme of the provider's URL.
struct Environment {
    /// The variable that names the proxy.
    variable: &'static str,
    proxy: Option<SecretString>,
    no_proxy: String,
}

impl Environment {
    /// Reads the variables that count for a provider at `base_url`.
    fn read(base_url: &Url) -> Self {
        Self::with(base_url, |name| {
            env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    fn with(base_url: &Url, variable: impl Fn(&str) -> Option<String>) -> Self {
        // The first that is not empty counts.
        let first = |names: [&'static str; 2]| {
            let mut found = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
            found.find(|(_, value)| !value.is_empty())
        };
        let names = match base_url.scheme() {
            "https" => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        let (variable, proxy) = match first(names) {
            Some((name, value)) => (name, Some(value.into())),
            None => (names[0], None),
        };
        let no_proxy = first(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, value)| value);
        Self { variable, proxy, no_proxy }
    }

    /// Returns the URL of the proxy through which `base_url` is asked, if any.
    ///
    /// # Errors
    /// The variable is not the URL of a proxy. A bare `host:port` is one of `http`.
    fn proxy(&self, base_url: &Url) -> Result<Option<SecretString>, ()> {
        let Some(text) = &self.proxy else { return Ok(None) };
        let text = text.expose_secret();
        let has_scheme = text.contains("://");
        let text = if has_scheme { text.to_owned() } else { format!("http://{text}") };
        let url = parse_url(&text).ok_or(())?;
        Ok(is_proxied(base_url, &self.no_proxy).then(|| SecretString::from(String::from(url))))
    }
}

/// Reports whether a proxy is used for `url` at all: not on the way to this machine itself, nor to
/// what the list `no_proxy` has, separated by commas. An entry is `*` for everything; a
/// network as 10.0.0.0/8; an IP address or a domain, either with a port behind a colon or without.
/// `example.com` means the domain and all below it, `.example.com` and `*.example.com` for
/// those below it alone.
fn is_proxied(url: &Url, no_proxy: &str) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return false;
    }
    let port = url.port_or_known_default();
    !no_proxy.split(',').any(|entry| {
        let entry = entry.trim().to_lowercase();
        entry == "*" || is_in_network(address, &entry) || is_host(host, address, port, &entry)
    })
}

/// Reports whether an entry of `no_proxy` can match a host at all, or is empty.
fn is_entry(entry: &str) -> bool {
    if let Some((network, length)) = entry.split_once('/') {
        let bits = match network.parse() {
            Ok(IpAddr::V4(_)) => u32::BITS,
            Ok(IpAddr::V6(_)) => u128::BITS,
            Err(_) => return false,
        };
        return length.parse::<u32>().is_ok_and(|length| length <= bits);
    }
    let (name, port) = split_port(entry);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let domain = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
    let is_host = || {
        let url = Url::parse(&format!("http://{domain}/"));
        !domain.contains(['*', '@', '?', '#', '\\']) && url.is_ok_and(|url| url.port().is_none())
    };
    let is_name = name.parse::<IpAddr>().is_ok() || (!domain.is_empty() && is_host());
    entry.is_empty() || entry == "*" || (is_port && is_name)
}

fn is_in_network(address: Option<IpAddr>, entry: &str) -> bool {
    let parsed = entry.split_once('/').and_then(|(network, length)| {
        Some((network.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?))
    });
    let (Some(address), Some((network, length))) = (address, parsed) else { return false };
    let (ours, theirs, bits) = match (address, network) {
        (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
            (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), u32::BITS)
        }
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), u128::BITS),
        _ => return false,
    };
    // All bits behind the prefix are shifted out; there may be 128 of them.
    length <= bits
        && ours.checked_shr(bits - length).unwrap_or(0)
            == theirs.checked_shr(bits - length).unwrap_or(0)
}

fn is_host(host: &str, address: Option<IpAddr>, port: Option<u16>, entry: &str) -> bool {
    let (name, entry_port) = split_port(entry);
    let is_at_port = |wanted: &str| port.is_some_and(|port| port.to_string() == wanted);
    if entry_port.is_some_and(|wanted| !is_at_port(wanted)) {
        return false;
    }
    if let Ok(named) = name.parse::<IpAddr>() {
        return address == Some(named.to_canonical());
    }
    if address.is_some() || name.is_empty() {
        return false;
    }
    let (domain, only_below) = match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => (domain, true),
        None => (name, false),
    };
    // As a URL writes it: a name that is not ASCII in Punycode.
    let domain = Url::parse(&format!("http://{domain}/"));
    let domain = domain.as_ref().ok().and_then(Url::host_str).unwrap_or_default();
    match host.strip_suffix(domain) {
        _ if domain.is_empty() => false,
        Some("") => !only_below,
        Some(below) => below.ends_with('.'),
        None => false,
    }
}

/// Splits `host:port`, `[IPv6]:port`, `[IPv6]`, or what has no port, which IPv6 addresses without
/// brackets have not.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(url: &str, no_proxy: &str) -> bool {
        is_proxied(&Url::parse(url).unwrap(), no_proxy)
    }

    #[test]
    fn no_proxy_means_what_it_means_in_go() {
        for (entry, direct, through) in [
            ("", &[][..], &["http://a.example", "http://10.0.0.1"][..]),
            ("*", &["http://a.example", "http://10.0.0.1", "http://[2001:db8::1]"], &[]),
            ("b, *", &["http://a.example"], &[]),
            (
                "example.com",
                &["http://example.com", "https://EXAMPLE.com:8443", "http://a.b.example.com"],
                &["http://badexample.com", "http://example.com.org", "http://com"],
            ),
            (".example.com", &["http://a.example.com"], &["http://example.com"]),
            ("*.example.com", &["http://a.example.com"], &["http://example.com"]),
            ("a, .b ,, EXAMPLE.com ", &["http://example.com", "http://x.b"], &["http://b"]),
            (
                "example.com:8080",
                &["http://example.com:8080", "https://a.example.com:8080"],
                &["http://example.com", "https://example.com:80"],
            ),
            ("example.com:443", &["https://example.com"], &["http://example.com"]),
            ("10.0.0.1", &["http://10.0.0.1", "http://10.0.0.1:9"], &["http://10.0.0.11"]),
            ("10.0.0.1:80", &["http://10.0.0.1"], &["http://10.0.0.1:81"]),
            (
                "10.1.0.0/16",
                &["http://10.1.2.3", "http://[::ffff:10.1.2.3]"],
                &["http://10.2.0.1", "http://a.example", "http://[2001:db8::1]"],
            ),
            ("0.0.0.0/0", &["http://10.1.2.3"], &["http://[2001:db8::1]", "http://a"]),
            ("10.0.0.0/33, 10.0.0.0/x, 10/8", &[], &["http://10.0.0.1"]),
            ("2001:db8::/32", &["http://[2001:db8:1::2]"], &["http://[2001:db9::1]"]),
            ("2001:db8::1", &["http://[2001:db8::1]:99"], &["http://[2001:db8::2]"]),
            ("[2001:db8::1]:99", &["http://[2001:db8::1]:99"], &["http://[2001:db8::1]"]),
            ("bücher.example", &["http://bücher.example"], &["http://bucher.example"]),
            (":80, /8, [, ], :, .", &[], &["http://a.example", "http://10.0.0.1"]),
        ] {
            assert!(direct.iter().all(|url| !proxied(url, entry)), "{entry}: {direct:?}");
            assert!(through.iter().all(|url| proxied(url, entry)), "{entry}: {through:?}");
        }
    }

    #[test]
    fn an_entry_that_matches_nothing_is_none() {
        let right = "*, a, .a, *.a.b, A.b:8080, bücher.example, 10.0.0.1:80, 10.0.0.0/8, ::/0, \
                     2001:db8::1, [2001:db8::1], [2001:db8::1]:99, 0.0.0.0/0, 10.0.0.0/32, a_b";
        for entry in right.split(',').chain([""]) {
            assert!(is_entry(entry.trim()), "{entry}");
        }
        let wrong = "10.0.0.0/33, ::/129, 10/8, a/8, /8, 10.0.0.0/, [::1, [, http://x, *.*, a.*, :80, \
                     a:x, a:99999, a b, :, ., *., a@b, a?, a#, 10.0.0.1:";
        for entry in wrong.split(',') {
            assert!(!is_entry(entry.trim()), "{entry}");
        }
    }

    #[test]
    fn this_machine_is_asked_directly() {
        for url in ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]"] {
            assert!(!proxied(url, ""), "{url}");
        }
        assert!(proxied("http://localhost.example", ""));
    }

    #[test]
    fn the_environment_names_the_proxy_of_a_scheme() {
        let proxy = |url: &str, variables: &[(&str, &str)]| {
            let url = Url::parse(url).unwrap();
            let value = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let proxy = Environment::with(&url, value).proxy(&url);
            proxy.map(|url| url.map(|url| url.expose_secret().to_owned()))
        };
        let (plain, secure) = ("http://a.example", "https://a.example");
        let both = [("HTTP_PROXY", "http://p:1"), ("HTTPS_PROXY", "https://me:pw@q:2")];
        assert_eq!(proxy(plain, &both), Ok(Some("http://p:1/".into())));
        assert_eq!(proxy(secure, &both), Ok(Some("https://me:pw@q:2/".into())));
        assert_eq!(proxy(secure, &both[..1]), Ok(None));
        assert_eq!(proxy(plain, &[("http_proxy", "p:1")]), Ok(Some("http://p:1/".into())));
        assert_eq!(
            proxy(plain, &[("http_proxy", "me:pw@p:1")]),
            Ok(Some("http://me:pw@p:1/".into()))
        );
        let shadowed = [("HTTP_PROXY", ""), ("http_proxy", "socks5://10.0.0.1:9")];
        assert_eq!(proxy(plain, &shadowed), Ok(Some("socks5://10.0.0.1:9".into())));
        assert_eq!(proxy(plain, &[("HTTP_PROXY", "p"), ("no_proxy", "example")]), Ok(None));
        assert_eq!(proxy("http://localhost", &[("HTTP_PROXY", "p")]), Ok(None));
        for wrong in ["ftp://p", "http://", "http://p:99999", "socks4://p"] {
            assert_eq!(proxy(plain, &[("HTTP_PROXY", wrong)]), Err(()), "{wrong}");
        }
    }
}
