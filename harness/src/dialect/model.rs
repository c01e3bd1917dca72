//! One request to the model over HTTP, and what its failure means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;
use vfs_core::{Error, Kind, Result};

use super::answer::{Answer, text};
use super::settings::Settings;
use super::stream::{Assembly, Step, whole};
use crate::limits::{
    ANSWER_BYTES_MAX, ERROR_BODY_MAX, ERROR_TEXT_MAX, LINE_BYTES_MAX, MODEL_CONNECT, RETRY_AFTER_MAX, SILENCE_MAX,
};

/// Why there is no answer. Its text is fit for people and logs: one line, nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Another try may go better.
    pub again: bool,
    /// A word for it: the status, or the type of the error.
    pub code: String,
    /// What happened.
    pub message: String,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Something that gets no better by asking again.
    pub(super) fn fatal(code: &str, message: impl Into<String>) -> Fault {
        Fault { again: false, code: code.to_owned(), message: message.into(), retry_after: None }
    }

    /// An answer that broke off or makes no sense.
    pub(super) fn broken(message: impl Into<String>) -> Fault {
        Fault { again: true, ..Fault::fatal("broken", message) }
    }

    /// An `error` event in the middle of an answer.
    pub(super) fn of_event(error: &Value) -> Fault {
        let code = text(error, "type");
        let again = !matches!(
            code,
            "invalid_request_error" | "authentication_error" | "permission_error" | "not_found_error" | "billing_error"
        );
        Fault { again, ..Fault::fatal(code, format!("the model's server says: {}", text(error, "message"))) }
    }
}

/// A model that can be asked.
#[derive(Debug, Clone)]
pub struct Model {
    settings: Settings,
    http: reqwest::Client,
    silence_max: Duration,
}

impl Model {
    /// Nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Model> {
        // No redirect is followed: the key would go wherever it leads.
        let builder = reqwest::Client::builder().redirect(Policy::none()).connect_timeout(MODEL_CONNECT);
        let builder = if settings.is_local() { builder.no_proxy() } else { builder };
        let http = builder
            .build()
            .map_err(|error| Error::new(Kind::Internal, "the HTTP client cannot be made").because(error))?;
        Ok(Model { settings, http, silence_max: SILENCE_MAX })
    }

    /// The same, but it counts as away when it was silent for so long.
    pub fn with_patience(self, silence_max: Duration) -> Model {
        Model { silence_max, ..self }
    }

    /// Where it is and what it is called.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks once. Text goes to `on_text` as it comes; it counts only if the answer does.
    pub async fn ask(&self, body: Bytes, on_text: &(dyn Fn(&str) + Send + Sync)) -> Result<Answer, Fault> {
        match self.ask_unscrubbed(body, on_text).await {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(Fault { message: self.shown(&fault.message), ..fault }),
        }
    }

    async fn ask_unscrubbed(&self, body: Bytes, on_text: &(dyn Fn(&str) + Send + Sync)) -> Result<Answer, Fault> {
        let request = self.http.post(self.settings.url.clone()).headers(self.settings.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let sent = timeout(self.silence_max, request.send()).await.map_err(|_| self.silent())?;
        let response = sent.map_err(|error| self.away(error))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let is = |kind: &str| {
            response.headers().get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(kind.as_bytes()))
        };
        if is("application/json") {
            return whole(&self.read(response, ANSWER_BYTES_MAX).await?);
        }
        self.streamed(response, on_text).await
    }

    async fn streamed(&self, response: Response, on_text: &(dyn Fn(&str) + Send + Sync)) -> Result<Answer, Fault> {
        let parts = response.bytes_stream().map(|part| part.map_err(|error| error.without_url().to_string()));
        // Silence is an error like any other of the connection; only its words are ours.
        gather(parts, self.silence_max, on_text).await.map_err(|fault| match fault.code.as_str() {
            "silent" => self.silent(),
            _ => fault,
        })
    }

    async fn read(&self, response: Response, most: usize) -> Result<Bytes, Fault> {
        let mut body = response.bytes_stream();
        let mut all = BytesMut::new();
        while let Some(part) = timeout(self.silence_max, body.next()).await.map_err(|_| self.silent())? {
            all.extend_from_slice(&part.map_err(|error| self.away(error))?);
            if all.len() > most {
                return Err(Fault::broken("what the model's server says is too long"));
            }
        }
        Ok(all.freeze())
    }

    /// The error of an answer that is no success.
    async fn refused(&self, response: Response) -> Fault {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
            .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
            .map(|seconds| Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())));
        let body = self.read(response, ERROR_BODY_MAX).await.unwrap_or_default();
        let error = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let said = match text(&error["error"], "message") {
            "" => String::from_utf8_lossy(&body).into_owned(),
            message => message.to_owned(),
        };
        let again = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
        let hint = match status {
            StatusCode::UNAUTHORIZED => " (is ANTHROPIC_API_KEY right?)",
            StatusCode::NOT_FOUND => " (are ANTHROPIC_BASE_URL and the model's name right?)",
            _ => "",
        };
        let status = status.as_u16();
        let message = format!("{} answered with status {status}{hint}: {said}", self.settings.place());
        Fault { again, code: status.to_string(), message, retry_after }
    }

    fn silent(&self) -> Fault {
        let seconds = self.silence_max.as_secs_f32();
        let message = format!("{} has sent nothing for {seconds} seconds", self.settings.place());
        Fault { again: true, ..Fault::fatal("silent", message) }
    }

    fn away(&self, error: reqwest::Error) -> Fault {
        let error = Error::new(Kind::Unavailable, format!("{} cannot be reached", self.settings.place()))
            .because(error.without_url());
        Fault { again: true, ..Fault::fatal("away", error.chain()) }
    }

    /// A text of the server's for people: one bounded line without anything secret.
    fn shown(&self, text: &str) -> String {
        let text = self.settings.scrubbed(text);
        let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        match line.char_indices().nth(ERROR_TEXT_MAX) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// Puts an answer together from the bytes of its stream.
pub(super) async fn gather(
    parts: impl Stream<Item = Result<Bytes, String>>,
    silence_max: Duration,
    on_text: &(dyn Fn(&str) + Send + Sync),
) -> Result<Answer, Fault> {
    let (mut left, mut line) = (ANSWER_BYTES_MAX, 0);
    // A stream that never ends a line is held in memory by the parser: it is cut here.
    let bounded = parts.map(move |part| {
        let part = part?;
        left = left.checked_sub(part.len()).ok_or_else(|| "it is too long".to_owned())?;
        line = match part.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => part.len() - end - 1,
            None => line + part.len(),
        };
        if line > LINE_BYTES_MAX {
            return Err("a line of it is too long".to_owned());
        }
        Ok::<Bytes, String>(part)
    });
    let mut events = std::pin::pin!(bounded.eventsource());
    let mut assembly = Assembly::default();
    loop {
        let event = timeout(silence_max, events.next()).await.map_err(|_| Fault::fatal("silent", "silence"))?;
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(Fault::broken(format!("the model's answer broke: {error}"))),
            None => return Err(Fault::broken("the model's answer broke off before its end")),
        };
        match assembly.take(&event.data)? {
            Step::More => {}
            Step::Text(text) => on_text(&text),
            Step::Done(answer) => return Ok(answer),
        }
    }
}
