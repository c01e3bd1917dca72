//! One request to the engine: connect, start an engine where that is wanted, retry what may be retried.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};
use vfs_core::{Error, Kind, Result};

use super::answer::{Exchanged, Failure, failed_to_send, read_all, refusal, too_slow};
use super::in_process::InProcess;
use crate::limits::{CONNECT_DEADLINE, REQUEST_DEADLINE, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::{VERSION, VERSION_HEADER, versions_differ};

/// Where an engine is.
#[derive(Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// An address such as `http://127.0.0.1:7420`, and the token it lets in.
    Http {
        /// Scheme, host and port.
        url: String,
        /// The bearer token.
        token: String,
    },
    /// The engine of this process.
    InProcess(InProcess),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Unix(path) => path.display().fmt(f),
            Endpoint::Http { url, .. } => f.write_str(url),
            Endpoint::InProcess(_) => f.write_str("this process"),
        }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Starts an engine where none answers.
#[async_trait]
pub trait EngineStarter: Send + Sync + 'static {
    /// Makes sure that an engine runs; returns where it is. Called again whenever the engine is away.
    async fn ensure(&self) -> Result<Endpoint>;
}

/// Talks to an engine. Clones share their connections. Bound to the runtime that it is first used on.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    link: RwLock<Link>,
    starter: Option<Arc<dyn EngineStarter>>,
    version: &'static str,
}

/// The connections to one endpoint.
#[derive(Clone)]
struct Link {
    endpoint: Endpoint,
    base: String,
    http: reqwest::Client,
}

impl Link {
    fn new(endpoint: Endpoint) -> Result<Self> {
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_DEADLINE);
        let (builder, base) = match &endpoint {
            Endpoint::Unix(path) => (builder.unix_socket(path.clone()), "http://esker".to_owned()),
            Endpoint::Http { url, .. } => (builder.tcp_nodelay(true), url.trim_end_matches('/').to_owned()),
            Endpoint::InProcess(_) => (builder, "http://esker".to_owned()),
        };
        let http = builder
            .build()
            .map_err(|error| Error::new(Kind::Internal, "the HTTP client cannot be made").because(error))?;
        Ok(Link { endpoint, base, http })
    }

    /// Sends one request; returns when the head of its answer is there.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        match &self.endpoint {
            Endpoint::InProcess(engine) => {
                let request = request.build().map_err(|error| failed_to_send(&self.endpoint, error))?;
                engine.answer(request).await.map_err(|error| Failure { error, unreached: false })
            }
            _ => request.send().await.map_err(|error| failed_to_send(&self.endpoint, error)),
        }
    }
}

/// How hard a request is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Time for all attempts together.
    pub deadline: Duration,
    /// It may be sent again although the engine may have seen it.
    pub repeatable: bool,
    /// Keep trying while the engine is away, although nobody starts it.
    pub patient: bool,
}

impl Effort {
    /// Asks once; asks again only if the engine cannot have seen it.
    pub(super) const ONCE: Effort = Effort { deadline: REQUEST_DEADLINE, repeatable: false, patient: false };
    /// A question, or what may be said twice.
    pub(super) const READ: Effort = Effort { deadline: REQUEST_DEADLINE, repeatable: true, patient: false };

    /// Something repeatable on which a mount depends.
    pub(super) const fn persistent(deadline: Duration) -> Effort {
        Effort { deadline, repeatable: true, patient: true }
    }

    /// The same with another deadline.
    pub(super) const fn within(self, deadline: Duration) -> Effort {
        Effort { deadline, ..self }
    }
}

/// The attempts of one request.
struct Attempts {
    effort: Effort,
    deadline: Instant,
    pause: Duration,
}

impl Attempts {
    fn new(effort: Effort) -> Self {
        Attempts { effort, deadline: Instant::now() + effort.deadline, pause: RETRY_PAUSE_MIN }
    }
}

impl Client {
    /// A client of the engine at `endpoint`; nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Result<Client> {
        Client::build(endpoint, None, VERSION)
    }

    /// The same, but an engine is started when none answers.
    pub fn with_starter(endpoint: Endpoint, starter: Arc<dyn EngineStarter>) -> Result<Client> {
        Client::build(endpoint, Some(starter), VERSION)
    }

    pub(crate) fn build(
        endpoint: Endpoint,
        starter: Option<Arc<dyn EngineStarter>>,
        version: &'static str,
    ) -> Result<Client> {
        Ok(Client(Arc::new(Inner { link: RwLock::new(Link::new(endpoint)?), starter, version })))
    }

    /// Where the engine is, as far as is known.
    pub fn endpoint(&self) -> Endpoint {
        self.0.link.read().endpoint.clone()
    }

    /// The version that this client says it has.
    pub(super) fn version(&self) -> &'static str {
        self.0.version
    }

    /// A question answered with JSON.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(Method::GET, path, None::<&()>, Effort::READ).await
    }

    /// A JSON request answered with JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        effort: Effort,
    ) -> Result<T> {
        let answer = self.bytes(method, path, body, effort).await?;
        // A publish with no content is answered with an empty body: `()` reads as null.
        let answer = if answer.is_empty() { Bytes::from_static(b"null") } else { answer };
        serde_json::from_slice(&answer).map_err(|error| {
            Error::new(Kind::Internal, format!("the engine's answer to {path} makes no sense")).because(error)
        })
    }

    /// A JSON request answered with bytes.
    pub(super) async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        effort: Effort,
    ) -> Result<Bytes> {
        let body = body.map(serde_json::to_vec).transpose();
        let body =
            body.map_err(|error| Error::new(Kind::Internal, "a request cannot be written as JSON").because(error))?;
        self.send_and_read(method, path, "application/json", body.map(Bytes::from), effort).await
    }

    /// Sends bytes, reads bytes, tries again as `effort` says.
    pub(super) async fn send_and_read(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
        effort: Effort,
    ) -> Result<Bytes> {
        let mut attempts = Attempts::new(effort);
        loop {
            let outcome = self.attempt(&method, path, content_type, body.clone(), attempts.deadline).await;
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.before_next(path, &mut attempts, failure).await?,
            }
        }
    }

    /// Sends JSON and returns the answer as it begins to arrive; its body takes as long as it takes.
    pub(super) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        effort: Effort,
    ) -> Result<Response> {
        self.stream_with(method, path, body, effort, |request| request).await
    }

    /// The same with more headers.
    pub(super) async fn stream_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        effort: Effort,
        add: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut attempts = Attempts::new(effort);
        loop {
            let link = self.link();
            let mut request = add(self.request(&link, &method, path));
            if let Some(body) = &body {
                request = request.header("content-type", "application/json").body(body.clone());
            }
            match self.answer(&link, request, path, attempts.deadline).await {
                Ok(response) => return Ok(response),
                Err(failure) => self.before_next(path, &mut attempts, failure).await?,
            }
        }
    }

    /// Sends a request with headers of its own and reads the whole answer. A refusal with the status `expected` is an
    /// answer as well.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Bytes>,
        expected: Option<u16>,
        effort: Effort,
    ) -> Result<Exchanged> {
        let mut attempts = Attempts::new(effort);
        loop {
            let link = self.link();
            let mut request = self.request(&link, &method, path);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            if let Some(body) = &body {
                request = request.header("content-type", "application/octet-stream").body(body.clone());
            }
            match self.exchange_once(&link, request, path, expected, attempts.deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.before_next(path, &mut attempts, failure).await?,
            }
        }
    }

    async fn exchange_once(
        &self,
        link: &Link,
        request: RequestBuilder,
        path: &str,
        expected: Option<u16>,
        deadline: Instant,
    ) -> Result<Exchanged, Failure> {
        let response = self.head(link, request, path, deadline).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() && expected != Some(status) {
            let error = timeout_at(deadline, refusal(response)).await.unwrap_or_else(|_| too_slow(path));
            return Err(Failure { error, unreached: false });
        }
        let headers = response.headers().clone();
        let read = timeout_at(deadline, read_all(response)).await.unwrap_or_else(|_| Err(too_slow(path)));
        let body = read.map_err(|error| Failure { error, unreached: false })?;
        Ok(Exchanged { status, headers, body })
    }

    fn link(&self) -> Link {
        self.0.link.read().clone()
    }

    /// Waits until it makes sense to try again, and brings an engine back; gives the error back if there is no use.
    async fn before_next(&self, path: &str, attempts: &mut Attempts, failure: Failure) -> Result<()> {
        let effort = attempts.effort;
        let again = match failure.unreached {
            true => self.0.starter.is_some() || effort.patient,
            false => effort.repeatable && failure.error.kind() == Kind::Unavailable,
        };
        if !again || Instant::now() + attempts.pause >= attempts.deadline {
            return Err(failure.error);
        }
        tracing::debug!(path, error = %failure.error.chain(), "trying again");
        if failure.unreached {
            self.start(effort, attempts.deadline).await?;
        }
        sleep(attempts.pause).await;
        attempts.pause = (attempts.pause * 2).min(RETRY_PAUSE_MAX);
        Ok(())
    }

    /// Lets the starter bring an engine back. If that fails, a patient caller goes on trying.
    async fn start(&self, effort: Effort, deadline: Instant) -> Result<()> {
        let Some(starter) = &self.0.starter else { return Ok(()) };
        let started = match timeout_at(deadline, starter.ensure()).await {
            Ok(started) => started,
            Err(_) => Err(Error::new(Kind::Unavailable, "the engine did not start in time; its log says why")),
        };
        match started {
            Ok(endpoint) => self.move_to(endpoint),
            Err(error) if effort.patient => {
                tracing::warn!("the engine cannot be started: {}", error.chain());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Any bytes to any URL, for tests of what no typed method would send.
    #[cfg(test)]
    pub(crate) async fn raw(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        self.send_and_read(method, path, "application/octet-stream", Some(body), Effort::ONCE).await
    }

    fn move_to(&self, endpoint: Endpoint) -> Result<()> {
        let mut link = self.0.link.write();
        if link.endpoint != endpoint {
            *link = Link::new(endpoint)?;
        }
        Ok(())
    }

    /// Makes sure that an engine is there, for connections that do not go through here.
    pub(super) async fn ensure_engine(&self, deadline: Instant) -> Result<()> {
        self.start(Effort::persistent(REQUEST_DEADLINE), deadline).await
    }

    fn request(&self, link: &Link, method: &Method, path: &str) -> RequestBuilder {
        let request = link.http.request(method.clone(), format!("{}{path}", link.base));
        let request = request.header(VERSION_HEADER, self.0.version);
        match &link.endpoint {
            Endpoint::Unix(_) | Endpoint::InProcess(_) => request,
            Endpoint::Http { token, .. } => request.bearer_auth(token),
        }
    }

    /// Sends one request and reads its whole answer.
    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
        deadline: Instant,
    ) -> Result<Bytes, Failure> {
        let link = self.link();
        let mut request = self.request(&link, method, path);
        if let Some(body) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = self.answer(&link, request, path, deadline).await?;
        let read = timeout_at(deadline, read_all(response)).await;
        read.unwrap_or_else(|_| Err(too_slow(path))).map_err(|error| Failure { error, unreached: false })
    }

    /// The head of the answer, checked: our version, a success.
    async fn answer(
        &self,
        link: &Link,
        request: RequestBuilder,
        path: &str,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let response = self.head(link, request, path, deadline).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let error = timeout_at(deadline, refusal(response)).await.unwrap_or_else(|_| too_slow(path));
        Err(Failure { error, unreached: false })
    }

    /// The head of the answer, whatever it says: only our version is checked.
    async fn head(
        &self,
        link: &Link,
        request: RequestBuilder,
        path: &str,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let sent = timeout_at(deadline, link.send(request)).await;
        let response = sent.unwrap_or_else(|_| Err(Failure { error: too_slow(path), unreached: false }))?;
        self.check_version(&response, path).map_err(|error| Failure { error, unreached: false })?;
        Ok(response)
    }

    fn check_version(&self, response: &Response, path: &str) -> Result<()> {
        let theirs = response.headers().get(VERSION_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()));
        match theirs {
            Some(theirs) if theirs == self.0.version => Ok(()),
            // So that a newer command can find out about an old engine and stop it.
            Some(_) if matches!(path, "/v1/status" | "/v1/shutdown") => Ok(()),
            Some(theirs) => Err(Error::new(Kind::Unsupported, versions_differ(self.0.version, &theirs))),
            None => Err(Error::new(Kind::Unsupported, "what answers there is not an Esker engine")),
        }
    }
}
