//! Ranged reads of packs: neighbours in one request, several requests at once, every object verified.

use bytes::Bytes;
use futures::StreamExt;

use super::Store;
use crate::db::Location;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;
use crate::limits::{READ_GAP_MAX, READ_SPAN_MAX, READS_AT_ONCE, SMALL_OBJECT_MAX};
use crate::pack::unpack;

/// Objects of one pack that are read in one request.
struct Span {
    pack: PackId,
    start: u64,
    end: u64,
    /// Places in the request that the span answers.
    members: Vec<usize>,
}

impl Store {
    /// Reads and verifies objects where the index says they are, in order. One that cannot be read does not harm the
    /// others.
    pub(crate) async fn fetch(&self, locations: &[Location]) -> Vec<Result<Bytes>> {
        let mut results: Vec<Option<Result<Bytes>>> = locations.iter().map(|_| None).collect();
        let requests = spans(locations).into_iter().map(|span| {
            let members: Vec<Location> = span.members.iter().map(|&member| locations[member]).collect();
            async move {
                let read = self.fetch_span(&span, members).await;
                (span, read)
            }
        });
        let mut requests = futures::stream::iter(requests).buffer_unordered(READS_AT_ONCE);
        while let Some((span, read)) = requests.next().await {
            match read {
                Ok(read) => span.members.iter().zip(read).for_each(|(&member, result)| results[member] = Some(result)),
                Err(error) => span.members.iter().for_each(|&member| {
                    let id = locations[member].entry.id;
                    let context = format!("{id} could not be read: {}", error.context());
                    results[member] = Some(Err(Error::new(error.kind(), context).because(error.chain())));
                }),
            }
        }
        let missed = || Error::new(Kind::Internal, "a read left an object out");
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(missed()))).collect()
    }

    async fn fetch_span(&self, span: &Span, members: Vec<Location>) -> Result<Vec<Result<Bytes>>> {
        let name = self.pack_name(span.pack);
        let read = self.inner.bucket.get_range(&name, span.start..span.end).await;
        let bytes = read.map_err(|error| match error.kind() {
            Kind::NotFound => Error::corrupt(format!("{name} is missing in the bucket")).because(error),
            _ => error,
        })?;
        let (keys, pack, start) = (self.keys().clone(), span.pack, span.start);
        let unpack_all = move || -> Vec<Result<Bytes>> {
            let stored = |location: &Location| {
                let offset = (location.entry.offset - start) as usize;
                bytes.slice(offset..offset + location.entry.stored_length as usize)
            };
            members.iter().map(|location| unpack(&keys, pack, &location.entry, &stored(location))).collect()
        };
        if span.end - span.start <= SMALL_OBJECT_MAX as u64 {
            return Ok(unpack_all());
        }
        let panicked = |error| Error::new(Kind::Internal, "unpacking objects panicked").because(error);
        tokio::task::spawn_blocking(unpack_all).await.map_err(panicked)
    }
}

fn spans(locations: &[Location]) -> Vec<Span> {
    let mut order: Vec<usize> = (0..locations.len()).collect();
    order.sort_unstable_by_key(|&index| (locations[index].pack, locations[index].entry.offset));
    let mut spans: Vec<Span> = Vec::new();
    for index in order {
        let Location { pack, entry } = locations[index];
        let end = entry.offset + u64::from(entry.stored_length);
        match spans.last_mut() {
            Some(span)
                if span.pack == pack
                    && entry.offset <= span.end + READ_GAP_MAX
                    && end.saturating_sub(span.start) <= READ_SPAN_MAX =>
            {
                span.end = span.end.max(end);
                span.members.push(index);
            }
            _ => spans.push(Span { pack, start: entry.offset, end, members: vec![index] }),
        }
    }
    spans
}
