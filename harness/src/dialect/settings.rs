//! Where the model is and what opens it, from the environment.
//!
//! What is secret is in header values that are marked so; it is never shown, not even by `Debug`.

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use vfs_core::{Error, Kind, Result};

/// The public API.
const PUBLIC: &str = "https://api.anthropic.com";
/// The model that is asked where nobody chose one.
const MODEL: &str = "claude-sonnet-4-5";
/// The version of the API that this dialect is.
const VERSION: &str = "2023-06-01";

/// Where the model is, what opens it, and which one is asked.
#[derive(Clone)]
pub struct Settings {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) secrets: Vec<String>,
    /// The model's name.
    pub model: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} at {})", self.model, self.place())
    }
}

impl Settings {
    /// Reads the variables `ANTHROPIC_*`; `model` is what the caller chose.
    pub fn read(variable: impl Fn(&str) -> Option<String>, model: Option<&str>) -> Result<Settings> {
        let variable = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let url = messages_url(&variable("ANTHROPIC_BASE_URL").unwrap_or_else(|| PUBLIC.to_owned()))?;
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        if let Some(custom) = variable("ANTHROPIC_CUSTOM_HEADERS") {
            custom_headers(&custom, &mut headers, &mut secrets)?;
        }
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        let (name, value, secret) = match (variable("ANTHROPIC_API_KEY"), variable("ANTHROPIC_AUTH_TOKEN")) {
            (Some(key), _) => ("x-api-key", key.clone(), key),
            (None, Some(token)) => ("authorization", format!("Bearer {token}"), token),
            (None, None) => {
                let line = "no key for the model: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN)";
                return Err(Error::new(Kind::Denied, line));
            }
        };
        headers.insert(HeaderName::from_static(name), sensitive(&value, "the key of the model")?);
        secrets.push(secret);
        let model =
            model.map(str::to_owned).or_else(|| variable("ANTHROPIC_MODEL")).unwrap_or_else(|| MODEL.to_owned());
        Ok(Settings { url, headers, secrets, model })
    }

    /// Where the model is, for people: without user, password and query.
    pub fn place(&self) -> String {
        let port = self.url.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    /// Whether the model is on this machine: a proxy has no business there.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
    }

    /// Takes out of a text of the server's what must not be shown.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"))
    }
}

/// Where messages go below a base URL, which may end in `/v1` as some write it.
fn messages_url(base: &str) -> Result<Url> {
    let trimmed = base.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
    let url = Url::parse(&format!("{trimmed}/v1/messages"));
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or_else(|| {
        Error::new(Kind::Invalid, "ANTHROPIC_BASE_URL is no address: it begins with http:// or https://")
    })
}

/// Lines of `Name: value`, as gateways want them.
fn custom_headers(lines: &str, headers: &mut HeaderMap, secrets: &mut Vec<String>) -> Result<()> {
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let parts = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((Ok(name), value)) = parts.map(|(name, value)| (HeaderName::try_from(name), value)) else {
            return Err(Error::new(Kind::Invalid, "a line of ANTHROPIC_CUSTOM_HEADERS is not `Name: value`"));
        };
        headers.insert(name, sensitive(value, "a value of ANTHROPIC_CUSTOM_HEADERS")?);
        // A short one may be a word of any text, and is no secret.
        if value.len() >= 8 {
            secrets.push(value.to_owned());
        }
    }
    Ok(())
}

fn sensitive(value: &str, what: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::new(Kind::Invalid, format!("{what} has characters that no header may have")))?;
    value.set_sensitive(true);
    Ok(value)
}
