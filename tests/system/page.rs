//! The admin page in a real browser, over everything hostile that an agent can write: nothing runs, all of it is shown.
//!
//! The browser is Debian's chromium; `tests/browser/page.mjs` drives it and reports what it saw. The same run over spoilt
//! answers shows that the report would tell.

mod hostile;

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Run, World, has_program, npm_file, program_path};

/// Pages that are visited at most: every hostile text is on one of the first.
const PAGES_MAX: usize = 200;

#[test]
fn nothing_that_an_agent_wrote_runs_in_the_page() {
    let Some(world) = World::with_mounts() else { return };
    let Some(browser) = Browser::find() else { return };
    let written = hostile::fill(&world);

    let report = browser.visit(&world, &written, "", PAGES_MAX);
    println!("{} pages, {} downloads, kinds {:#}", report["pages"], report["downloads"], report["kinds"]);
    let findings = list(&report["findings"]);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    let unseen: Vec<_> =
        written.iter().filter(|text| report["marks"].get(&text.mark).is_none()).map(|text| &*text.mark).collect();
    assert!(unseen.is_empty(), "{} of {} texts are on no page: {unseen:?}", unseen.len(), written.len());
    assert!(report["downloads"].as_u64() > Some(0), "a file can be saved");
    the_door_is_shut(&report["login"]);

    // The detector itself: texts whose escapes are undone, first with the policy, which must report, then without.
    let blocked = list(&browser.visit(&world, &written, "escapes", 30)["findings"]);
    let said = |findings: &[String], what: &str| findings.iter().any(|finding| finding.contains(what));
    assert!(said(&blocked, "policy violated") || said(&blocked, "Content Security Policy"), "{blocked:#?}");
    assert!(!said(&blocked, "SCRIPT RAN"), "the policy holds even if the escaping fails: {blocked:#?}");
    let open = list(&browser.visit(&world, &written, "policy", 30)["findings"]);
    assert!(said(&open, "SCRIPT RAN") && said(&open, "header content-security-policy"), "{open:#?}");
}

/// What the browser found at the door.
fn the_door_is_shut(login: &Value) {
    assert_eq!(login["preview"], 200, "a look at the link uses nothing up: {login}");
    assert_eq!(login["cookies"], json!([{"httpOnly": true, "sameSite": "Strict", "path": "/"}]));
    assert_eq!(login["still_in"], 200, "the refusals below are not for want of a visit: {login}");
    assert_eq!(login["reuse_cookies"], 0, "a used link gives nothing: {login}");
    for refused in ["without", "reuse", "rebinding", "foreign_post", "null_post", "after_logout"] {
        let status = login[refused].as_u64().unwrap_or(0);
        assert!((400..500).contains(&status), "{refused} is answered with {status}: {login}");
    }
}

struct Browser {
    driver: std::path::PathBuf,
    program: String,
}

impl Browser {
    fn find() -> Option<Browser> {
        let driver = npm_file("playwright-core/index.mjs")?;
        has_program("chromium").then(|| Browser { driver, program: program_path("chromium") })
    }

    /// Goes through the page with a fresh link.
    fn visit(&self, world: &World, written: &[hostile::Written], sabotage: &str, pages_max: usize) -> Value {
        let said = world.esker(["admin"]).ok().out;
        let link = said.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
        let link = link.unwrap_or_else(|| panic!("`esker admin` prints a link, not {said:?}"));
        let marks: Vec<&str> = written.iter().map(|text| &*text.mark).collect();
        let order = json!({"link": link, "marks": marks, "pages_max": pages_max, "sabotage": sabotage});
        let order_path = world.path("browser.json");
        std::fs::write(&order_path, order.to_string()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/page.mjs");
        let mut node = world.program("node");
        node.arg(script).arg(&self.driver).arg(&self.program);
        node.stdin(Stdio::from(std::fs::File::open(&order_path).unwrap()));
        node.run_within(Duration::from_secs(180)).ok().json()
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
}
