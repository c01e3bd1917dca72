//! A proxy before an S3 server that spoils it: what `If-None-Match` says never arrives, as with the small servers that ignore it.
//!
//! One request a connection, bodies by their length. It remembers what was written and deleted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running proxy; its threads end with the test.
pub(crate) struct Proxy {
    /// Its URL, for `AWS_ENDPOINT`.
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Stands before the server at this address.
    pub(crate) fn before(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (server, log) = (server.to_owned(), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, log) = (server.clone(), log.clone());
                // A client that goes away in the middle is no business of the proxy's.
                std::thread::spawn(move || pass(client, &server, &log));
            }
        });
        Proxy { url, seen }
    }

    /// Methods and paths of all requests that change something, in their order.
    pub(crate) fn changes(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no test thread panicked here");
        seen.iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).cloned().collect()
    }
}

fn pass(client: TcpStream, server: &str, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if head.is_empty() {
            let request = line.split(" HTTP/").next().unwrap_or_default();
            log.lock().expect("no test thread panicked here").push(request.to_owned());
        }
        if line.trim().is_empty() {
            break;
        }
        if !lower.starts_with("if-none-match:") && !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    let mut client = reader.into_inner();
    std::io::copy(&mut upstream, &mut client)?;
    client.shutdown(Shutdown::Both)
}
