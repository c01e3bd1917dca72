//! Statistics, as JSON and as Prometheus' text.

use std::fmt::{Display, Write};

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use vfs_core::limits::STATISTICS_AGE;

use super::ServerState;
use super::error::ApiResult;
use crate::wire::stats::{Requests, Stats};

/// The content type of Prometheus' text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How much the repo holds, what that takes, and how this engine does. Adds up the whole index: a second for some
/// million objects.
#[utoipa::path(get, path = "/v1/stats", tag = "maintenance", responses((status = OK, body = Stats)))]
pub(super) async fn stats(State(state): State<ServerState>) -> ApiResult<Json<Stats>> {
    Ok(Json(Stats::from(state.repo().statistics().await?)))
}

/// The same numbers for Prometheus; sums may be half a minute old.
#[utoipa::path(
    get, path = "/metrics", tag = "maintenance",
    responses((status = OK, body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(state): State<ServerState>) -> ApiResult<Response> {
    let stats = Stats::from(state.repo().recent_statistics(STATISTICS_AGE).await?);
    Ok(([(CONTENT_TYPE, TEXT)], text(&stats)).into_response())
}

/// One family after another, each with its help and type.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[(&str, &dyn Display)]) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP esker_{name} {help}\n# TYPE esker_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "esker_{name}{labels} {value}");
        }
    }

    fn gauge(&mut self, name: &str, help: &str, samples: &[(&str, &dyn Display)]) {
        self.family(name, "gauge", help, samples);
    }

    fn counter(&mut self, name: &str, help: &str, samples: &[(&str, &dyn Display)]) {
        self.family(name, "counter", help, samples);
    }
}

fn text(stats: &Stats) -> String {
    let mut page = Page::default();
    logical(&mut page, stats);
    stored(&mut page, stats);
    requests(&mut page, &stats.requests);
    caches(&mut page, stats);
    gc(&mut page, stats);
    page.0
}

fn logical(page: &mut Page, stats: &Stats) {
    let heads = &stats.heads;
    let mut bytes: Vec<(&str, &dyn Display)> = vec![("{of=\"heads\"}", &heads.bytes)];
    let mut entries: Vec<(&str, &dyn Display)> = vec![("{of=\"heads\"}", &heads.entries)];
    let mut snapshots: Vec<(&str, &dyn Display)> = vec![("{of=\"heads\"}", &heads.snapshots)];
    if let Some(kept) = &stats.kept {
        bytes.push(("{of=\"kept\"}", &kept.bytes));
        entries.push(("{of=\"kept\"}", &kept.entries));
        snapshots.push(("{of=\"kept\"}", &kept.snapshots));
    }
    page.gauge("logical_bytes", "Bytes of files as snapshots show them.", &bytes);
    page.gauge("logical_entries", "Files and directories as snapshots show them.", &entries);
    page.gauge("snapshots", "Snapshots that were added up.", &snapshots);
}

fn stored(page: &mut Page, stats: &Stats) {
    let labels: Vec<String> = stats.objects.iter().map(|kind| format!("{{kind=\"{}\"}}", kind.kind)).collect();
    type Number = fn(&crate::wire::stats::ObjectStats) -> &u64;
    let by_kind = |number: Number| -> Vec<(&str, &dyn Display)> {
        labels.iter().zip(&stats.objects).map(|(label, kind)| (label.as_str(), number(kind) as &dyn Display)).collect()
    };
    page.gauge("objects", "Objects, each once.", &by_kind(|kind| &kind.objects));
    page.gauge("unique_bytes", "Canonical bytes of objects, each once.", &by_kind(|kind| &kind.unique_bytes));
    page.gauge("stored_bytes", "Bytes of objects as stored.", &by_kind(|kind| &kind.stored_bytes));
    page.gauge("packs", "Packs in the index.", &[("", &stats.packs)]);
    page.gauge("pack_bytes", "Bytes of all packs.", &[("", &stats.pack_bytes)]);
    page.gauge("condemned_packs", "Packs that wait for their end.", &[("", &stats.condemned_packs)]);
    if let Some(ratio) = &stats.dedup_ratio {
        page.gauge("dedup_ratio", "Logical bytes to unique bytes.", &[("", ratio)]);
    }
    if let Some(ratio) = &stats.compression_ratio {
        page.gauge("compression_ratio", "Unique bytes to stored bytes.", &[("", ratio)]);
    }
}

fn requests(page: &mut Page, requests: &Requests) {
    page.counter(
        "bucket_requests_total",
        "Requests to the bucket, each try.",
        &[
            ("{kind=\"get\"}", &requests.get),
            ("{kind=\"range\"}", &requests.range),
            ("{kind=\"list\"}", &requests.list),
            ("{kind=\"create\"}", &requests.create),
            ("{kind=\"part\"}", &requests.part),
            ("{kind=\"delete\"}", &requests.delete),
        ],
    );
    page.counter("bucket_retries_total", "Tries after the first.", &[("", &requests.retries)]);
    page.counter("bucket_read_bytes_total", "Bytes read from the bucket.", &[("", &requests.bytes_in)]);
    page.counter("bucket_written_bytes_total", "Bytes written to the bucket.", &[("", &requests.bytes_out)]);
}

fn caches(page: &mut Page, stats: &Stats) {
    let memory = &stats.memory_cache;
    let mut hits: Vec<(&str, &dyn Display)> = vec![("{cache=\"memory\"}", &memory.hits)];
    let mut misses: Vec<(&str, &dyn Display)> = vec![("{cache=\"memory\"}", &memory.misses)];
    let mut bytes: Vec<(&str, &dyn Display)> = vec![("{cache=\"memory\"}", &memory.bytes)];
    let mut limits: Vec<(&str, &dyn Display)> = vec![("{cache=\"memory\"}", &memory.limit_bytes)];
    if let Some(disk) = &stats.disk_cache {
        hits.push(("{cache=\"disk\"}", &disk.hits));
        misses.push(("{cache=\"disk\"}", &disk.misses));
        bytes.push(("{cache=\"disk\"}", &disk.bytes));
        limits.push(("{cache=\"disk\"}", &disk.limit_bytes));
        page.counter("disk_cache_wrong_total", "Objects with wrong bytes, fetched anew.", &[("", &disk.wrong)]);
        page.gauge("disk_cache_stopped", "1 if nothing is kept any more.", &[("", &u8::from(disk.stopped))]);
    }
    page.counter("cache_hits_total", "Objects found in a cache.", &hits);
    page.counter("cache_misses_total", "Objects not found in a cache.", &misses);
    page.gauge("cache_bytes", "Bytes that a cache takes.", &bytes);
    page.gauge("cache_limit_bytes", "Bytes that a cache may take.", &limits);
    page.counter("read_ahead_spans_total", "Spans of packs read ahead.", &[("", &stats.spans_read_ahead)]);
}

fn gc(page: &mut Page, stats: &Stats) {
    let Some(last) = &stats.last_gc else { return };
    let report = &last.report;
    page.gauge("gc_last_time_seconds", "When gc ended last, since 1970.", &[("", &last.time.seconds)]);
    page.gauge("gc_last_reachable_objects", "Objects that gc reached.", &[("", &report.reachable_objects)]);
    page.gauge("gc_last_unreachable_objects", "Objects that gc did not reach.", &[("", &report.unreachable_objects)]);
    page.gauge("gc_last_freed_bytes", "Bytes of packs deleted, or that could be.", &[("", &report.deletable_bytes)]);
}
