//! The database on its own.
