//! `esker serve`: the engine in front; or, started by another command, in the background.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cli::Serve;
use crate::context::Context;
use crate::engine::{self, EngineInfo, Serving};
use crate::exit::Outcome;
use crate::limits::OPEN_FILES_MAX;
use crate::{print, ready};

/// Serves until Ctrl-C; in the background, until nobody needs it.
pub(crate) async fn run(context: &Context, options: Serve) -> Outcome {
    let detached = options.detached;
    // A variable that is set to nothing is not set.
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let (bucket, database) = (given(options.bucket), given(options.database));
    let (listen, cache_bytes) = (options.listen, options.cache_size);
    let serving = Serving { listen, bucket, database, cache_bytes, leave_when_idle: detached };
    let say = |info: &EngineInfo| match detached {
        true => ready::say_ready(&serde_json::to_value(info).expect("because it has plain fields")),
        false => context.printer.result(info, || text(context, info)),
    };
    raise_open_files();
    engine::serve(&context.data, serving, say).await
}

/// As many open files as the system lets us have, up to what is useful: shells allow 1,024, and each connection, and each
/// level of a tree that is exported, needs one.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES_MAX, |most| most.min(OPEN_FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(error = %error, "the limit of open files stays as it is");
        }
    }
}

fn text(context: &Context, info: &EngineInfo) -> String {
    let mut rows =
        vec![("data", context.data.path().display().to_string()), ("socket", info.socket.display().to_string())];
    if let Some(address) = &info.address {
        rows.push(("address", format!("http://{address}")));
        rows.push(("token", format!("in {}", context.data.token().display())));
    }
    if info.encrypted {
        rows.push(("encrypted", "yes; whoever loses the key loses everything".to_owned()));
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    format!("{}Ctrl-C stops the engine; mounts go on and start another", print::table(&rows))
}

/// Stops the engine, if one runs.
pub(crate) async fn shutdown(context: &Context) -> Outcome {
    let stopped = engine::stop(&context.data).await?;
    context.printer.result(&serde_json::json!({ "stopped": stopped }), || match stopped {
        Some(pid) => format!("stopped the engine, process {pid}"),
        None => format!("no engine runs for {}", context.data.path().display()),
    })
}
