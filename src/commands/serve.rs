//! `esker serve`: the engine in front; or, started by another command, in the background.

use crate::cli::Serve;
use crate::context::Context;
use crate::engine::{self, EngineInfo, Serving};
use crate::exit::Outcome;
use crate::{print, ready};

/// Serves until Ctrl-C; in the background, until nobody needs it.
pub(crate) async fn run(context: &Context, options: Serve) -> Outcome {
    let detached = options.detached;
    let serving = Serving {
        listen: options.listen,
        bucket: options.bucket,
        cache_bytes: options.cache_size,
        leave_when_idle: detached,
    };
    let say = |info: &EngineInfo| match detached {
        true => ready::say_ready(&serde_json::to_value(info).expect("because it has plain fields")),
        false => context.printer.result(info, || text(context, info)),
    };
    engine::serve(&context.data, serving, say).await
}

fn text(context: &Context, info: &EngineInfo) -> String {
    let mut rows =
        vec![("data", context.data.path().display().to_string()), ("socket", info.socket.display().to_string())];
    if let Some(address) = &info.address {
        rows.push(("address", format!("http://{address}")));
        rows.push(("token", format!("in {}", context.data.token().display())));
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
