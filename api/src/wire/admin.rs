//! The admin page, as far as the API knows it (decision 0015).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lets one browser in to the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminLink {
    /// Open this in a browser of this machine. Good once.
    pub url: String,
    /// Seconds until it is good no more.
    pub expires_s: u64,
}
