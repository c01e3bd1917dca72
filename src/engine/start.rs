//! Starting an engine in the background when a command finds none.

use std::ffi::OsString;
use std::time::Instant;

use vfs_core::Kind;

use super::find::{self, Found};
use super::lock::EngineInfo;
use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;
use crate::key;
use crate::limits::{ENGINE_START, POLL};
use crate::ready;

/// Makes sure that an engine runs and says where. Of several commands that do this at once, one starts it and the
/// others find it. Blocks.
pub(crate) fn ensure(data: &DataFolder) -> Outcome<EngineInfo> {
    data.prepare()?;
    let until = Instant::now() + ENGINE_START;
    loop {
        if let Found::Running(info) = find::look(data)? {
            refuse_useless_key(data, &info)?;
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

/// Whoever gives a key believes that the repo is encrypted.
fn refuse_useless_key(data: &DataFolder, info: &EngineInfo) -> Outcome {
    if info.encrypted || key::asked(data)?.is_none() {
        return Ok(());
    }
    let line = format!(
        "a key was given, but the repo of {} is not encrypted: a repo stays as it was made. Leave --key-file, \
         ESKER_KEY_FILE and ESKER_KEY out, or use another --data folder, whose new repo will be encrypted",
        data.path().display()
    );
    Err(Failure::new(Kind::Invalid, line))
}

fn start(data: &DataFolder) -> Outcome {
    let mut arguments: Vec<OsString> = vec!["--data".into(), data.path().into()];
    // The path only; a key in the environment is inherited.
    if let Some(file) = data.key_file() {
        arguments.extend(["--key-file".into(), file.into()]);
    }
    arguments.extend(["serve".into(), "--detached".into()]);
    let left = ready::start(&arguments, &data.engine_log(), ENGINE_START)?;
    tracing::debug!(engine = %left, "started an engine");
    Ok(())
}
