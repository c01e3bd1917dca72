//! What a holder reads from its journal, for [`crate::testing::decoders`].

use super::record::Record;
use crate::error::Result;
use crate::object::codec::Writer;

/// A record of the journal, written again as it was understood.
pub(crate) fn record(payload: &[u8]) -> Result<Vec<u8>> {
    let record = Record::decode(payload)?;
    let mut out = Writer::default();
    record.encode(&mut out);
    if let Record::Write { length, .. } = record {
        out.fixed(&payload[payload.len() - length as usize..]);
    }
    Ok(out.finish())
}
