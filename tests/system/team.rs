//! Engines of a team: the built program on a private PostgreSQL and a bucket that all reach.

use std::fs;

use crate::world::{Run, World, postgres};

/// Two data folders, as on two machines, that have everything else in common.
struct Team {
    one: World,
    two: World,
    url: String,
}

impl Team {
    fn new() -> Option<Team> {
        let url = postgres::database()?;
        let (mut one, mut two) = (World::new(), World::new());
        let bucket = format!("file://{}", one.path("bucket").display());
        for world in [&mut one, &mut two] {
            // Where the first command starts an engine, it finds these.
            world.set("ESKER_DATABASE", &url.replace("esker@", "esker:hush@"));
            world.set("ESKER_BUCKET", &bucket);
        }
        Some(Team { one, two, url })
    }
}

fn says_no_secret(world: &World) {
    let log = fs::read_to_string(world.data().join("engine.log")).unwrap_or_default();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn what_one_engine_stores_the_other_serves() {
    let Some(mut team) = Team::new() else { return };
    let source = team.one.folder("source");
    fs::write(source.join("file"), "content").unwrap();
    team.one.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    assert_eq!(team.two.esker(["cat", "w:file"]).ok().out, "content");
    team.two.esker(["fork", "w", "f"]).ok();
    team.one.esker(["check", "--full"]).ok();
    assert_eq!(team.one.esker(["cat", "f:file"]).ok().out, "content");
    // An engine that is started later needs to be told nothing.
    team.two.esker(["shutdown"]).ok();
    team.two.set("ESKER_DATABASE", "");
    team.two.set("ESKER_BUCKET", "");
    assert_eq!(team.two.esker(["cat", "w:file"]).ok().out, "content");
    says_no_secret(&team.one);
    says_no_secret(&team.two);
}

#[test]
fn a_wrong_database_is_refused_without_its_password() {
    let Some(mut team) = Team::new() else { return };
    team.one.esker(["workspace", "create", "w"]).ok();
    team.one.esker(["shutdown"]).ok();
    let other = postgres::database().expect("because there was one before").replace("esker@", "esker:hush@");
    for (database, said) in [(other.as_str(), "leave --database out"), ("mysql://ana:hush@host/db", "postgres://")] {
        team.one.set("ESKER_DATABASE", database);
        let refused = team.one.esker(["serve"]).fails(2);
        let text = format!("{refused}");
        assert!(text.contains(said) && !text.contains("hush"), "{text}");
    }
    // A password of its own in the environment does not make it another one.
    team.one.set("ESKER_DATABASE", &team.url.clone());
    team.one.esker(["workspace", "list"]).ok();
}
