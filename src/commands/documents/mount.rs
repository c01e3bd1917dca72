//! `esker doc mount`: shows documents at a folder, in front or detached.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vfs_core::Kind;
use vfs_core::documents::Scope;
use vfs_core::id::SessionId;

use crate::cli::{DocMount, Viewer};
use crate::context::Context;
use crate::exit::Outcome;
use crate::folder::absolute;
use crate::holder::{self, ShownDocuments, WantedDocuments, author};
use crate::limits::MOUNT_START;
use crate::ready;

/// Mounts and serves until told to stop; with `--detach` another process does.
pub(super) async fn run(context: &Context, options: DocMount) -> Outcome {
    let at = absolute(&options.at)?;
    let wanted = wanted(&options.who, at.clone(), options.allow_other)?;
    if options.detach {
        return detach(context, &options, &at).await;
    }
    let client = context.client().await?;
    let say = |shown: &ShownDocuments| match options.detached {
        true => ready::say_ready(&serde_json::to_value(shown).expect("because it has plain fields")),
        false => context.printer.result(shown, || format!("{}\nCtrl-C unmounts", mounted(shown))),
    };
    let tell = |line: &str| context.printer.remark(line);
    holder::show_documents(&context.data, client, wanted, say, &tell).await
}

/// What is shown to whom. A session may write the agent's own scope and what it is granted, a person everything.
pub(in crate::commands) fn wanted(who: &Viewer, mountpoint: PathBuf, allow_other: bool) -> Outcome<WantedDocuments> {
    let agent = Scope::agent(&who.agent)?.to_string();
    let user = match &who.user {
        Some(user) => Some(Scope::user(user)?),
        // A login that cannot name a scope has no documents.
        None => Scope::user(&author()).ok(),
    };
    let mut view = vec![agent.clone()];
    view.extend(user.map(|user| user.to_string()));
    view.push(Scope::org().to_string());
    let grants: vfs_core::Result<Vec<String>> =
        who.grants.iter().map(|grant| grant.parse::<Scope>().map(|scope| scope.to_string())).collect();
    let mut grants = grants?;
    if let Some(session) = &who.session {
        session.parse::<SessionId>()?;
    }
    let session = who.session.clone().unwrap_or_default();
    if session.is_empty() && grants.is_empty() {
        grants.clone_from(&view);
    }
    if !session.is_empty() && !grants.contains(&agent) {
        grants.push(agent.clone());
    }
    let author = if session.is_empty() { author() } else { agent };
    Ok(WantedDocuments { view, grants, author, session, mountpoint, allow_other })
}

/// The options that say the same to another process.
pub(in crate::commands) fn arguments(who: &Viewer) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--agent".into(), who.agent.clone().into()];
    let mut option = |name: &str, value: &str| arguments.extend([name.into(), value.into()]);
    if let Some(user) = &who.user {
        option("--user", user);
    }
    for grant in &who.grants {
        option("--grant", grant);
    }
    if let Some(session) = &who.session {
        option("--session", session);
    }
    arguments
}

fn mounted(shown: &ShownDocuments) -> String {
    let mut text = format!("the documents of {} are mounted at {}", shown.view.join(","), shown.mountpoint.display());
    if shown.grants != shown.view {
        text.push_str(&format!(" (may be written: {})", shown.grants.join(",")));
    }
    text
}

/// Starts the process behind the mount in the background and waits until it is mounted.
async fn detach(context: &Context, options: &DocMount, at: &Path) -> Outcome {
    let log = context.data.documents_record(at).with_extension("log");
    crate::folder::private(log.parent().expect("because the path has a folder"))?;
    let mut all: Vec<OsString> = vec!["--data".into(), context.data.path().into()];
    if let Some(url) = &context.engine {
        all.extend(["--engine".into(), url.into()]);
    }
    all.extend(["doc", "mount", "--detached"].map(OsString::from));
    all.extend(options.allow_other.then(|| "--allow-other".into()));
    all.extend(arguments(&options.who));
    all.extend(["--".into(), at.into()]);
    let token = context.token.clone();
    let started = tokio::task::spawn_blocking(move || ready::start_with(&all, token.as_deref(), &log, MOUNT_START))
        .await
        .expect("because starting a process does not panic")?;
    let shown: ShownDocuments = serde_json::from_value(started)
        .map_err(|error| vfs_core::Error::new(Kind::Internal, "the mount said something odd").because(error))?;
    context.printer.result(&shown, || format!("{}\n`esker unmount {}` unmounts", mounted(&shown), at.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "0123456789abcdef";

    fn viewer(grants: &[&str], session: Option<&str>) -> Viewer {
        Viewer {
            agent: "main".into(),
            user: Some("ana".into()),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
            session: session.map(str::to_owned),
        }
    }

    fn grants(grants: &[&str], session: Option<&str>) -> Vec<String> {
        wanted(&viewer(grants, session), "/m".into(), false).unwrap().grants
    }

    #[test]
    fn a_session_may_write_its_own_and_what_it_is_granted() {
        assert_eq!(grants(&[], None), ["agent/main", "user/ana", "org"]);
        assert_eq!(grants(&["org"], None), ["org"]);
        assert_eq!(grants(&[], Some(SESSION)), ["agent/main"]);
        assert_eq!(grants(&["org"], Some(SESSION)), ["org", "agent/main"]);
        let refused = wanted(&viewer(&["other"], Some(SESSION)), "/m".into(), false).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert_eq!(wanted(&viewer(&[], Some("x")), "/m".into(), false).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn another_process_is_told_the_same() {
        use clap::Parser;
        let said = viewer(&["org", "agent/main"], Some(SESSION));
        let mut line: Vec<OsString> = ["esker", "doc", "mount", "--detached"].map(OsString::from).to_vec();
        line.extend(arguments(&said));
        line.push("/m".into());
        let cli = crate::cli::Cli::try_parse_from(line).unwrap();
        let crate::cli::Command::Doc(crate::cli::Doc::Mount(heard)) = cli.command else { panic!() };
        assert_eq!(arguments(&heard.who), arguments(&said));
        assert!(heard.detached);
    }
}
