//! The page's own URLs. Everything that goes into one is percent-encoded here.

use std::fmt::Display;

use crate::wire::name::{to_query, to_segment};

/// The start: all workspaces.
pub(super) const HOME: &str = "/admin";
/// Where a link from the terminal leads.
pub(super) const LOGIN: &str = "/admin/login";
/// The stylesheet.
pub(super) const STYLE: &str = "/admin/style.css";
/// The picture.
pub(super) const ICON: &str = "/admin/icon.svg";
/// All sessions.
pub(super) const SESSIONS: &str = "/admin/sessions";
/// All documents.
pub(super) const DOCUMENTS: &str = "/admin/documents";

/// A workspace's snapshots.
pub(super) fn workspace(name: &str) -> String {
    format!("/admin/workspaces/{}", to_segment(name))
}

/// A snapshot's root.
pub(super) fn state(name: &str, snapshot: impl Display) -> String {
    format!("{}/at/{}", workspace(name), to_segment(&snapshot.to_string()))
}

/// A path of a snapshot.
pub(super) fn path(name: &str, snapshot: impl Display, path: &[u8]) -> String {
    format!("{}?path={}", state(name, snapshot), to_query(path))
}

/// A file of a snapshot, to be saved.
pub(super) fn download(name: &str, snapshot: impl Display, path: &[u8]) -> String {
    format!("{}/download?path={}", state(name, snapshot), to_query(path))
}

/// What differs between two snapshots of a workspace.
pub(super) fn diff(name: &str, from: impl Display, to: impl Display) -> String {
    let (from, to) = (to_query(from.to_string().as_bytes()), to_query(to.to_string().as_bytes()));
    format!("{}/diff?from={from}&to={to}", workspace(name))
}

/// One file's part of it.
pub(super) fn diff_file(name: &str, from: impl Display, to: impl Display, path: &[u8]) -> String {
    let (from, to) = (to_query(from.to_string().as_bytes()), to_query(to.to_string().as_bytes()));
    format!("{}/diff/file?from={from}&to={to}&path={}", workspace(name), to_query(path))
}

/// The sessions of a workspace.
pub(super) fn sessions_of(workspace: &str) -> String {
    format!("{SESSIONS}?workspace={}", to_query(workspace.as_bytes()))
}

/// A session from its start.
pub(super) fn session(id: &str) -> String {
    format!("{SESSIONS}/{}", to_segment(id))
}

/// A session from the event behind this one.
pub(super) fn session_after(id: &str, after: u64) -> String {
    format!("{}?after={after}", session(id))
}

/// A turn of a session.
pub(super) fn turn(id: &str, turn: impl Display) -> String {
    let turn = to_query(turn.to_string().as_bytes());
    format!("{}?turn={turn}#turn-{turn}", session(id))
}

/// An event as it was written.
pub(super) fn event(id: &str, sequence: u64) -> String {
    format!("{}/events/{sequence}", session(id))
}

/// The documents of a scope.
pub(super) fn scope(scope: &str) -> String {
    format!("{DOCUMENTS}?scope={}", to_query(scope.as_bytes()))
}

/// The versions of a document.
pub(super) fn versions(scope: &str, path: &str) -> String {
    format!("{DOCUMENTS}/versions?{}", document(scope, path))
}

/// The content of a version.
pub(super) fn version(scope: &str, path: &str, version: u64) -> String {
    format!("{DOCUMENTS}/version?{}&version={version}", document(scope, path))
}

/// A version, to be saved.
pub(super) fn version_download(scope: &str, path: &str, version: u64) -> String {
    format!("{DOCUMENTS}/download?{}&version={version}", document(scope, path))
}

/// What differs between two versions.
pub(super) fn version_diff(scope: &str, path: &str, from: u64, to: u64) -> String {
    format!("{DOCUMENTS}/diff?{}&from={from}&to={to}", document(scope, path))
}

fn document(scope: &str, path: &str) -> String {
    format!("scope={}&path={}", to_query(scope.as_bytes()), to_query(path.as_bytes()))
}
