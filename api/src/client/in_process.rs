//! The endpoint in this process: a request goes to the engine's router as a function call, without a socket.
//!
//! Keeps true: a caller in this process gets the same answers, streams and refusals as one over the Unix socket; what
//! it drops in the middle is dropped at the engine as well.

use std::sync::Arc;

use axum::Router;
use axum::http;
use futures::TryStreamExt;
use reqwest::{Body, Request, Response};
use tower_service::Service;
use vfs_core::{Error, Kind, Result};

use super::transport::{Client, Endpoint};
use crate::server::Peer;

/// An engine's router that is called directly. Clones are the same engine.
#[derive(Clone)]
pub struct InProcess(Arc<Router>);

impl PartialEq for InProcess {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for InProcess {}

impl InProcess {
    /// The engine with this router.
    pub fn new(router: Router) -> Self {
        InProcess(Arc::new(router))
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request) -> Result<Response> {
        let nonsense = |error| Error::new(Kind::Internal, "a request makes no sense").because(error);
        let mut request: http::Request<Body> = request.try_into().map_err(nonsense)?;
        request.extensions_mut().insert(Peer::InProcess);
        let request = request.map(axum::body::Body::new);
        let mut router = Router::clone(&self.0);
        // A router is always ready and answers every request.
        let response = Service::<http::Request<axum::body::Body>>::call(&mut router, request).await;
        let response = response.unwrap_or_else(|never| match never {});
        Ok(response.map(|body| Body::wrap_stream(body.into_data_stream().into_stream())).into())
    }
}

impl Client {
    /// A client of the engine in this process whose router this is. It takes everything but a mount's control
    /// connection.
    pub fn in_process(router: Router) -> Result<Client> {
        Client::new(Endpoint::InProcess(InProcess::new(router)))
    }
}
