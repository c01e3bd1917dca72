//! The one place that asks the machine for randomness.

use crate::error::{Error, Kind, Result};

/// Random bytes fit for keys.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    #[cfg(feature = "testing")]
    if crate::testing::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Kind::Unavailable, "the machine has no randomness to give").because(error))?;
    Ok(bytes)
}
