//! How far a long piece of work has come.

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being counted: "files", "packs", "objects", ….
    pub what: &'static str,
    /// Done so far.
    pub done: u64,
    /// All there are, where that is known.
    pub total: Option<u64>,
}

/// Takes reports; called often, so it must be quick.
pub type OnProgress = dyn Fn(Progress) + Send + Sync;

/// Takes reports and does nothing with them.
pub fn silent(_: Progress) {}
