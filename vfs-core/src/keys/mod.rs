//! Keys (decision 0016): the operator's wraps the tenant's, those give each pack and each sealed object its own.
//!
//! ```text
//! operator key ── wraps ──▶ id key, data keys (in config.json)
//! data key ‖ pack id ─────▶ pack key, seals the objects and the footer of one pack
//! data key ‖ salt ────────▶ seals one small object of its own
//! ```
//!
//! Secrets have no debug output, and are overwritten when their last owner goes.

mod aead;
mod operator;
mod sealed;
mod tenant;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use aead::{PackKey, TAG_LENGTH};
pub use operator::OperatorKey;
pub(crate) use operator::{WrapPlace, Wrapped};
pub use tenant::{DataKey, TenantKeys};

/// Length of every key in bytes.
pub const KEY_LENGTH: usize = 32;

/// Bytes that nobody may see. Clones share them.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Overwritten>);

struct Overwritten([u8; KEY_LENGTH]);

impl Secret {
    pub(crate) fn new(bytes: [u8; KEY_LENGTH]) -> Secret {
        Secret(Arc::new(Overwritten(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0.0
    }

    /// A key for one purpose, made of this one and of what tells its uses apart.
    pub(crate) fn derive(&self, context: &str, with: &[u8]) -> Secret {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.bytes()).update(with);
        Secret::new(*hasher.finalize().as_bytes())
    }
}

impl Drop for Overwritten {
    fn drop(&mut self) {
        self.0.fill(0);
        // So that the compiler does not find the write useless.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
