//! Logs, sound and unsound.
