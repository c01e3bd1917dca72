//! How turns and sessions go.
