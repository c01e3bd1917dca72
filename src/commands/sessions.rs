//! `esker session list` and `show`.

mod tell;

use api::client::Client;
use api::limits::EVENTS_DEFAULT;
use api::wire::session::{Event, Session};
use futures::StreamExt;

use crate::cli::{Session as Options, SessionList, SessionShow};
use crate::context::Context;
use crate::exit::Outcome;
use crate::print::{self, Printer};

use tell::{inert, tell};

/// Lists or shows sessions.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    match options {
        Options::List(options) => list(context, options).await,
        Options::Show(options) => show(context, options).await,
    }
}

async fn list(context: &Context, options: SessionList) -> Outcome {
    let client = context.client().await?;
    let sessions = client.sessions(options.workspace.as_deref()).await?;
    context.printer.result(&sessions, || match sessions.is_empty() {
        true => "no sessions; `esker run` makes one".to_owned(),
        false => table(&sessions),
    })
}

fn table(sessions: &[Session]) -> String {
    let heads = ["SESSION", "STATE", "WORKSPACE", "AGENT", "TURNS", "CREATED", "TITLE"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(sessions.iter().map(|session| {
        vec![
            print::short(&session.id).to_owned(),
            inert(&session.state),
            workspace(session),
            inert(&session.agent),
            session.turns.to_string(),
            print::moment(session.created.into()),
            inert(&session.title),
        ]
    }));
    print::table(&rows)
}

fn workspace(session: &Session) -> String {
    match session.workspace_name.as_str() {
        "" => format!("({}, deleted)", print::short(&session.workspace.to_hex())),
        name => inert(name),
    }
}

/// Programs get the events, one a line; people a head and a story.
async fn show(context: &Context, options: SessionShow) -> Outcome {
    let client = context.client().await?;
    let session = client.session(&options.session).await?;
    let printer = context.printer;
    if !printer.is_json() && options.turn.is_none() {
        printer.line(&head(&session))?;
    }
    let wanted = |event: &Event| options.turn.is_none_or(|turn| event.turn == turn);
    if options.follow {
        let mut events = client.follow_events(&session.id, 0).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            if wanted(&event) {
                print(printer, &event)?;
            }
            if options.turn.is_some_and(|turn| event.turn == turn && event.kind == "turn.ended") {
                break;
            }
        }
        return Ok(());
    }
    each_event(&client, &session.id, |event| if wanted(event) { print(printer, event) } else { Ok(()) }).await
}

/// The log as it is now.
async fn each_event(client: &Client, id: &str, mut then: impl FnMut(&Event) -> Outcome) -> Outcome {
    let mut after = 0;
    loop {
        let page = client.events(id, after, EVENTS_DEFAULT).await?;
        for event in &page.events {
            then(event)?;
            after = event.sequence;
        }
        if !page.more || page.events.is_empty() {
            return Ok(());
        }
    }
}

fn print(printer: Printer, event: &Event) -> Outcome {
    if printer.is_json() {
        return printer.line(&print::json_line(event));
    }
    tell(event).iter().try_for_each(|line| printer.line(line))
}

fn head(session: &Session) -> String {
    let mut text = format!("session {}  {}", session.id, inert(&session.state));
    if let Some(lease) = &session.lease {
        text.push_str(&format!(", driven by {}", inert(&lease.owner)));
    }
    text.push_str(&format!(
        "\nworkspace {}, agent {}, for {}, since {}",
        workspace(session),
        inert(&session.agent),
        inert(&session.user),
        print::moment(session.created.into())
    ));
    if !session.title.is_empty() {
        text.push_str(&format!("\n{}", inert(&session.title)));
    }
    text
}
