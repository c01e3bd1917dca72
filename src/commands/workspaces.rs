//! `esker workspace list|create|delete` and `esker fork`.

use api::wire::Workspace;
use api::wire::workspace::CreateWorkspace;

use crate::cli::{Fork, Workspace as Options};
use crate::context::{self, Context};
use crate::exit::Outcome;
use crate::print;

/// Lists, makes or deletes workspaces.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let client = context.client().await?;
    match options {
        Options::List => {
            let workspaces = client.workspaces().await?;
            context.printer.result(&workspaces, || list(&workspaces))
        }
        Options::Create { name } => {
            let made = client.create_workspace(&CreateWorkspace { name, ..CreateWorkspace::default() }).await?;
            context.printer.result(&made, || format!("made {}", made.name))
        }
        Options::Delete { name } => {
            client.delete_workspace(&name).await?;
            let line = format!("deleted {name}; `esker gc` frees what only it reached");
            context.printer.result(&serde_json::json!({ "deleted": name }), || line)
        }
    }
}

/// Makes a workspace on another's state.
pub(crate) async fn fork(context: &Context, options: Fork) -> Outcome {
    let client = context.client().await?;
    let state = context::resolve_text(&client, &options.source, options.state.published).await?;
    let from = format!("{}@{}", state.workspace, state.snapshot);
    let source = format!("{}@{}", state.workspace, print::short(&state.snapshot.to_hex()));
    let request = CreateWorkspace { name: options.new, from: Some(from), source: Some(source) };
    let made = client.create_workspace(&request).await?;
    context.printer.result(&made, || {
        format!("forked {} from {} at {}", made.name, state.workspace, print::short(&state.snapshot.to_hex()))
    })
}

fn list(workspaces: &[Workspace]) -> String {
    if workspaces.is_empty() {
        return "no workspaces; `esker up DIR` or `esker workspace create NAME` makes one".to_owned();
    }
    let mut rows = vec![["NAME", "HEAD", "CREATED", "MOUNTED AT", "SOURCE"].map(str::to_owned).to_vec()];
    rows.extend(workspaces.iter().map(|workspace| {
        let mounted = workspace.holder.as_ref().map_or("-", |holder| holder.mountpoint.as_str());
        vec![
            print::visible(workspace.name.as_bytes()),
            print::short(&workspace.head.to_hex()).to_owned(),
            print::moment(workspace.created.into()),
            print::visible(mounted.as_bytes()),
            print::visible(workspace.source.as_deref().unwrap_or("-").as_bytes()),
        ]
    }));
    print::table(&rows)
}
