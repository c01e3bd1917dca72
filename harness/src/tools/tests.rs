//! Tools against an engine in this process.
