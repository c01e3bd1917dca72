//! Finding the engine of a data folder.

use std::os::unix::net::UnixStream;

use super::lock::EngineInfo;
use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;

/// What was found.
pub(crate) enum Found {
    /// It listens there.
    Running(EngineInfo),
    /// There is none, or what is left of one that crashed.
    None,
}

/// Looks for the engine. One of another version is an error, because the two may not understand each other.
pub(crate) fn look(data: &DataFolder) -> Outcome<Found> {
    let Some(info) = EngineInfo::read(data) else { return Ok(Found::None) };
    if UnixStream::connect(&info.socket).is_err() {
        return Ok(Found::None);
    }
    if info.version != env!("CARGO_PKG_VERSION") {
        return Err(Failure::newer(format!(
            "the engine of {} (process {}) is version {}, this command is version {}: `esker shutdown` stops it, the next command starts its own",
            data.path().display(),
            info.pid,
            info.version,
            env!("CARGO_PKG_VERSION")
        )));
    }
    Ok(Found::Running(info))
}
