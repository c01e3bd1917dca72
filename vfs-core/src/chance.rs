//! The one place that asks the machine for randomness. Whoever needs to repeat a run brings bytes of their own.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

/// Where random bytes come from. Clones are the same source.
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn(&mut [u8]) -> Result<()> + Send + Sync>);

impl Chance {
    /// A source that fills a slice with bytes nobody else gets.
    pub fn new(fill: impl Fn(&mut [u8]) -> Result<()> + Send + Sync + 'static) -> Chance {
        Chance(Arc::new(fill))
    }

    /// The machine's own; fit for keys.
    pub fn machine() -> Chance {
        Chance::new(|bytes| {
            #[cfg(feature = "testing")]
            if crate::testing::fill(bytes) {
                return Ok(());
            }
            getrandom::fill(bytes)
                .map_err(|error| Error::new(Kind::Unavailable, "the machine has no randomness to give").because(error))
        })
    }

    /// So many random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        (self.0)(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance(..)")
    }
}

/// Random bytes of the machine, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    Chance::machine().bytes()
}
