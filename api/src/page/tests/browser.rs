//! Just enough of a browser: one request a connection, a cookie, what came back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::html::Document;
use crate::page::guard::HEADERS;
use crate::server::ServerState;

/// One visitor of one page.
pub(super) struct Browser {
    pub(super) address: SocketAddr,
    pub(super) cookie: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value; there must be exactly one.
    pub(super) fn header(&self, name: &str) -> &str {
        let mut found = self.head.lines().filter_map(|line| line.split_once(": ")).filter(|(known, _)| *known == name);
        let value = found.next().unwrap_or_else(|| panic!("no {name} in\n{}", self.head)).1;
        assert!(found.next().is_none(), "{name} is there twice:\n{}", self.head);
        value
    }

    /// The body, which must be a page that passes the strict reader.
    pub(super) fn page(&self) -> Document {
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        Document::read(std::str::from_utf8(&self.body).unwrap())
    }
}

impl Browser {
    /// Somebody who has no cookie.
    pub(super) fn stranger(address: SocketAddr) -> Browser {
        Browser { address, cookie: String::new() }
    }

    /// Somebody who came in by a link.
    pub(super) async fn visiting(state: &ServerState, address: SocketAddr) -> Browser {
        let mut browser = Browser::stranger(address);
        let answer = browser.enter(&state.door().make_code().unwrap()).await;
        assert_eq!(answer.status, 303, "{}", String::from_utf8_lossy(&answer.body));
        browser.cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        browser
    }

    /// Presses the button of a link.
    pub(super) async fn enter(&self, code: &str) -> Answer {
        let origin = format!("origin: http://{}\r\n", self.address);
        self.post("/admin/login", &origin, &format!("code={code}")).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &format!("host: {}\r\n", self.address), "").await
    }

    pub(super) async fn post(&self, path: &str, headers: &str, form: &str) -> Answer {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        self.send("POST", path, &format!("host: {}\r\n{kind}{headers}", self.address), form).await
    }

    /// One request with these headers and the cookie. Every answer must have all headers that the guard gives.
    pub(super) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let cookie = if self.cookie.is_empty() { String::new() } else { format!("cookie: {}\r\n", self.cookie) };
        // HTTP/1.0: the body ends with the connection, so there are no chunks to put together.
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\n{headers}{cookie}content-length: {length}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
        let head = String::from_utf8(all[..end].to_vec()).expect("headers that are text");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head, body: all[end + 4..].to_vec() };
        for (name, value) in &HEADERS {
            assert_eq!(answer.header(name.as_str()), *value, "{method} {path}");
        }
        answer
    }
}
