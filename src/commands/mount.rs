//! `esker mount`: shows a workspace at a folder, in front or detached; with `--docs` documents at another one as well.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use api::client::Client;

use super::documents;
use crate::address::StateName;
use crate::cli::Mount as Options;
use crate::context::Context;
use crate::exit::Outcome;
use crate::folder::absolute;
use crate::holder::{self, Documents, Shown, Started, Wanted};
use crate::limits::MOUNT_START;
use crate::{print, ready};

/// Mounts and serves until told to stop; with `--detach` another process does.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let state = StateName::parse(&options.source)?;
    let at = absolute(&options.at)?;
    if options.detach {
        return detach(context, &options, &state, &at).await;
    }
    let client = context.client().await?;
    let documents = match &options.docs {
        Some(docs) => {
            let wanted = documents::wanted(&options.who, absolute(docs)?, options.allow_other)?;
            Some(Documents::start(&context.data, client.clone(), wanted).await?)
        }
        None => None,
    };
    let shown = documents.as_ref().map(|documents| documents.shown.mountpoint.clone());
    let done = serve(context, client, &options, &state, at, shown).await;
    // The documents end with the workspace, whatever ended that.
    let ended = match documents {
        Some(documents) => documents.end().await,
        None => Ok(()),
    };
    done.and(Ok(ended?))
}

async fn serve(
    context: &Context,
    client: Client,
    options: &Options,
    state: &StateName,
    at: PathBuf,
    documents: Option<PathBuf>,
) -> Outcome {
    let say = |started: &Started| {
        let started = Started { documents, ..started.clone() };
        match options.detached {
            true => ready::say_ready(&serde_json::to_value(started).expect("because it has plain fields")),
            false => say_mounted(context, &started),
        }
    };
    let tell = |line: &str| context.printer.remark(line);
    if options.read_only || state.snapshot.is_some() {
        let found = client.resolve(&state.to_string()).await?;
        let shown = Shown {
            workspace: found.workspace,
            name: found.name,
            snapshot: found.snapshot,
            allow_other: options.allow_other,
        };
        return holder::show(client, shown, &at, say, &tell).await;
    }
    let workspace = client.workspace(&state.workspace).await?;
    let wanted = Wanted { id: workspace.id, mountpoint: at, allow_other: options.allow_other };
    holder::hold(&context.data, client, wanted, say, &tell).await
}

/// Says where it is mounted, for a command that stays in front.
pub(crate) fn say_mounted(context: &Context, started: &Started) -> Outcome {
    context.printer.result(started, || {
        let last = if started.read_only { "unmounts" } else { "publishes and unmounts" };
        format!("{}\nCtrl-C {last}", mounted(started))
    })
}

fn mounted(started: &Started) -> String {
    let at = started.mountpoint.display();
    let base = print::short(&started.base);
    let mut text = match started.read_only {
        true => format!("{} is mounted at {at}, read-only (snapshot {base})", started.workspace),
        false => format!("{} is mounted at {at} (snapshot {base})", started.workspace),
    };
    if let Some(documents) = &started.documents {
        text.push_str(&format!("\ndocuments are mounted at {}", documents.display()));
    }
    if started.recovered_bytes > 0 {
        text.push_str(&format!("\nbrought back {} of unpublished work", print::size(started.recovered_bytes)));
    }
    text
}

/// Starts the process behind the mount in the background and waits until it is mounted.
async fn detach(context: &Context, options: &Options, state: &StateName, at: &Path) -> Outcome {
    let client = context.client().await?;
    let workspace = client.workspace(&state.workspace).await?;
    let folder = context.data.holder(workspace.id);
    crate::folder::private(&folder)?;
    let mut arguments: Vec<OsString> = vec!["--data".into(), context.data.path().into(), "mount".into()];
    if let Some(url) = &context.engine {
        arguments.extend(["--server".into(), url.into()]);
    }
    arguments.push("--detached".into());
    let flags = [(options.read_only, "--read-only"), (options.allow_other, "--allow-other")];
    arguments.extend(flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag.into()));
    if let Some(docs) = &options.docs {
        arguments.extend(["--docs".into(), absolute(docs)?.into()]);
        arguments.extend(documents::arguments(&options.who));
    }
    arguments.extend(["--".into(), options.source.clone(), at.into()]);
    let log = folder.join("mount.log");
    let token = context.token.clone();
    let started =
        tokio::task::spawn_blocking(move || ready::start_with(&arguments, token.as_deref(), &log, MOUNT_START))
            .await
            .expect("because starting a process does not panic")?;
    let started: Started = serde_json::from_value(started).map_err(|error| {
        vfs_core::Error::new(vfs_core::Kind::Internal, "the mount said something odd").because(error)
    })?;
    context.printer.result(&started, || {
        let does = if started.read_only { "unmounts" } else { "publishes and unmounts" };
        format!("{}\n`esker unmount {}` {does}", mounted(&started), at.display())
    })
}
