//! What holds for every request (our address, our origin) and for every answer (its headers).

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use vfs_core::{Error, Kind, Result};

use super::Page;
use super::frame::Failure;

/// Headers of every answer, errors and downloads too.
///
/// The referrer policy is `same-origin`, not `no-referrer`: with the latter a browser sends `Origin: null` with our own
/// forms, and their origin could not be checked. Other places learn as little from the one as from the other.
pub(super) const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// Refuses what does not come from our own pages at our own address; puts the headers on every answer.
pub(super) async fn guard(State(page): State<Page>, request: Request, next: Next) -> Response {
    let allowed = is_ours(page.0.address, request.method(), request.headers());
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => Failure::from(error).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request was made for the address we listen on (a name that was made to point here is refused: DNS
/// rebinding), and whether one that changes something was made by a page of ours.
fn is_ours(address: SocketAddr, method: &Method, headers: &HeaderMap) -> Result<()> {
    let host = single(headers, header::HOST).filter(|host| is_our_host(address, host));
    let Some(host) = host else {
        let line = format!("this page is served as http://{address} only; ask `esker admin` for a link");
        return Err(Error::new(Kind::Denied, line));
    };
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let foreign = single(headers, HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin");
    match single(headers, header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") == Some(host) && !foreign => Ok(()),
        _ => Err(Error::new(Kind::Denied, "this did not come from a page of this engine")),
    }
}

/// The value of a header that is there once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Names are refused but for `localhost`: only an address cannot be made to point elsewhere. Where we listen on all
/// addresses, any of them will do.
fn is_our_host(address: SocketAddr, host: &str) -> bool {
    let port = format!(":{}", address.port());
    let bare = match host.strip_suffix(&port) {
        Some(bare) => bare,
        None if address.port() == 80 => host,
        None => return false,
    };
    if bare == "localhost" {
        return address.ip().is_loopback() || address.ip().is_unspecified();
    }
    let ip: Option<IpAddr> = match bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')) {
        Some(bare) => bare.parse().ok().map(IpAddr::V6),
        None => bare.parse().ok().map(IpAddr::V4),
    };
    ip.is_some_and(|ip| ip == address.ip() || address.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_address_is_our_host() {
        let here: SocketAddr = "127.0.0.1:7070".parse().unwrap();
        for host in ["127.0.0.1:7070", "localhost:7070"] {
            assert!(is_our_host(here, host), "{host}");
        }
        let foreign = [
            "",
            "127.0.0.1",
            "127.0.0.1:70",
            "127.0.0.1:17070",
            "127.0.0.1:7070.evil.example",
            "evil.example:7070",
            "evil.localhost:7070",
            "127.0.0.2:7070",
            "[::1]:7070",
            "127.0.0.1:7070:7070",
            "a@127.0.0.1:7070",
            "127.0.0.1.:7070",
            "localhost.:7070",
            "2130706433:7070",
            "127.1:7070",
        ];
        for host in foreign {
            assert!(!is_our_host(here, host), "{host}");
        }
        assert!(is_our_host("[::1]:80".parse().unwrap(), "[::1]"));
        assert!(is_our_host("0.0.0.0:80".parse().unwrap(), "10.1.2.3:80"));
        assert!(!is_our_host("0.0.0.0:80".parse().unwrap(), "evil.example"));
        assert!(!is_our_host("10.1.2.3:80".parse().unwrap(), "localhost"));
    }
}
