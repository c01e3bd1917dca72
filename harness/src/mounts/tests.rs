//! What is started, with which variables, and what is seen of the table of mounts.

use std::os::unix::fs::PermissionsExt;

use api::client::Endpoint;

use super::*;

#[test]
fn the_key_of_the_model_goes_nowhere() {
    let all = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GITHUB_TOKEN", "HOME", "ESKER_TOKEN", "AWS_REGION"];
    let kept = harmless(all.iter().map(|name| ((*name).into(), "x".into())));
    let names: Vec<_> = kept.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(names, ["HOME", "ESKER_TOKEN", "AWS_REGION"]);
}

#[tokio::test]
async fn a_plain_folder_is_no_mount() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!mounted(folder.path()) && !answers(folder.path()).await);
    assert!(mounted(Path::new("/proc")) && answers(Path::new("/proc")).await);
    assert_eq!(escaped(Path::new("/a b\\c")), b"/a\\040b\\134c");
}

/// A command that writes down how it was called.
fn recorder(folder: &Path, says: &str, code: i32) -> EskerCommand {
    let program = folder.join("esker");
    let record = folder.join("record");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> {0}\nenv >> {0}\necho {says} >&2\nexit {code}\n",
        record.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    EskerCommand {
        command: vec![program.into(), "--data".into(), "/d".into()],
        environment: vec![("ESKER_TOKEN".into(), "t".into())],
        folder: folder.join("mounts"),
        workspace: "w".into(),
        agent: "main".into(),
        user: String::new(),
        grants: vec!["agent/main".into()],
        session: "abcd".into(),
    }
}

fn mounts(esker: EskerCommand) -> EskerMounts {
    let client = Client::new(Endpoint::Unix("/nowhere".into())).unwrap();
    EskerMounts { esker, client: ClientBox(client), workspace: None, came_back: false }
}

#[tokio::test]
async fn the_documents_are_mounted_for_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = mounts(recorder(folder.path(), "", 0));
    mounts.mount(mounts.document_arguments(), None, &mounts.own_documents()).await.unwrap();
    let record = std::fs::read_to_string(folder.path().join("record")).unwrap();
    let at = mounts.own_documents().display().to_string();
    let wanted = [
        "--data",
        "/d",
        "doc",
        "mount",
        "--detach",
        "--agent",
        "main",
        "--grant",
        "agent/main",
        "--session",
        "abcd",
        "--",
        &at,
    ];
    assert_eq!(record.lines().take(wanted.len()).collect::<Vec<_>>(), wanted);
    assert!(record.contains("ESKER_TOKEN=t"));
}

#[tokio::test]
async fn a_mount_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = mounts(recorder(folder.path(), "no fuse here", 6));
    let error = mounts.mount(vec!["mount".into()], Some("w".into()), &mounts.own_workspace()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("no fuse here"), "{error}");
}
