//! Starting an engine in the background when a command finds none.

use std::ffi::OsString;
use std::time::Instant;

use vfs_core::Kind;

use super::find::{self, Found};
use super::lock::EngineInfo;
use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;
use crate::limits::{ENGINE_START, POLL};
use crate::ready;

/// Makes sure that an engine runs and says where. Of several commands that do this at once, one starts it and the
/// others find it. Blocks.
pub(crate) fn ensure(data: &DataFolder) -> Outcome<EngineInfo> {
    data.prepare()?;
    let until = Instant::now() + ENGINE_START;
    loop {
        if let Found::Running(info) = find::look(data)? {
            return Ok(info);
        }
        match start(data) {
            // Another engine has the lock: it is just starting, or just leaving.
            Err(failure) if failure.kind() == Kind::Busy && Instant::now() < until => std::thread::sleep(POLL),
            Err(failure) => return Err(failure),
            Ok(()) => {}
        }
        if Instant::now() >= until {
            let line = format!(
                "no engine for {} after {} s: {} (log: {})",
                data.path().display(),
                ENGINE_START.as_secs(),
                ready::last_line(&data.engine_log()),
                data.engine_log().display()
            );
            return Err(Failure::new(Kind::Unavailable, line));
        }
    }
}

fn start(data: &DataFolder) -> Outcome {
    let arguments: Vec<OsString> = vec!["--data".into(), data.path().into(), "serve".into(), "--detached".into()];
    let left = ready::start(&arguments, &data.engine_log(), ENGINE_START)?;
    tracing::debug!(engine = %left, "started an engine");
    Ok(())
}
