//! `esker key`: makes the key that encrypts a repo.

use serde::Serialize;
use vfs_core::chance::Chance;
use vfs_core::keys::OperatorKey;

use crate::cli::Key;
use crate::context::Context;
use crate::exit::Outcome;
use crate::folder::absolute;

/// What was made. Never the key itself.
#[derive(Debug, Serialize)]
struct Made {
    file: std::path::PathBuf,
}

/// Does what was asked for.
pub(crate) fn run(context: &Context, command: Key) -> Outcome {
    match command {
        Key::New { file } => new(context, &file),
    }
}

fn new(context: &Context, file: &std::path::Path) -> Outcome {
    let file = absolute(file)?;
    OperatorKey::from_bytes(Chance::machine().bytes()?).write_new_file(&file)?;
    let made = Made { file };
    context.printer.result(&made, || {
        let at = made.file.display();
        format!(
            "wrote a new key to {at}\nKeep a copy elsewhere: without it nothing in an encrypted repo can be read, by nobody, ever.\n\
             A new data folder is encrypted with it by --key-file {at}"
        )
    })
}
