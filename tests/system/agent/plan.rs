//! What the two models ask for, turn by turn, and what each turn must leave behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::project::{DOUBLE_MENDED, SKILL};
use crate::world::Script;

/// What the first agent remembers with the Write tool.
pub(super) const LEARNED: &str = "# Learned\n\n- double() added; it must multiply\n";
/// What the second adds with `echo >>`.
pub(super) const LEARNED_TOO: &str = "- the second agent has read this\n";
/// What the second agent begins.
pub(super) const NOTE: &str = "- written by echo in the second sandbox\n";
/// What the first adds to it.
pub(super) const NOTE_TOO: &str = "- seen in the first sandbox\n";

/// A session as it must go.
pub(super) struct Plan {
    pub(super) model: &'static str,
    pub(super) script: Script,
    /// For each turn the paths that it changes, with their content or `None` if they are gone.
    pub(super) changes: Vec<BTreeMap<String, Option<String>>>,
    /// What the results of calls must contain.
    pub(super) expected: BTreeMap<String, Vec<String>>,
    effects: String,
}

/// A call: id, tool, input, and what its result must contain.
struct Call<'p> {
    id: &'p str,
    tool: &'p str,
    input: Value,
    says: &'p [&'p str],
}

/// Every command first says, in a file of the workspace, that it ran.
fn bash<'p>(id: &'p str, command: &str, says: &'p [&'p str]) -> Call<'p> {
    let command = format!("echo {id} >> /workspace/app/effects.log; {command}");
    Call { id, tool: "Bash", input: json!({"command": command, "description": "Works"}), says }
}

fn call<'p>(id: &'p str, tool: &'p str, input: Value, says: &'p [&'p str]) -> Call<'p> {
    Call { id, tool, input, says }
}

impl Plan {
    fn new(model: &'static str) -> Plan {
        let (changes, expected) = (Vec::new(), BTreeMap::new());
        Plan { model, script: Script::new(model), changes, expected, effects: String::new() }
    }

    /// A turn and what it changes beside the list of effects.
    fn turn(&mut self, text: &str, calls: &[Call<'_>], changes: &[(&str, Option<&str>)]) -> &mut Plan {
        let list: Vec<_> = calls.iter().map(|call| (call.id, call.tool, call.input.clone())).collect();
        self.script.turn(text, &list);
        let mut changed: BTreeMap<String, Option<String>> =
            changes.iter().map(|(path, content)| ((*path).to_owned(), content.map(str::to_owned))).collect();
        for call in calls {
            if call.tool == "Bash" {
                self.effects += &format!("{}\n", call.id);
                changed.insert("app/effects.log".to_owned(), Some(self.effects.clone()));
            }
            self.expected.insert(call.id.to_owned(), call.says.iter().map(|&text| text.to_owned()).collect());
        }
        self.changes.push(changed);
        self
    }

    /// The model takes its time over the answer that was added last.
    fn slowly(&mut self, pause_ms: u64) -> &mut Plan {
        self.script.slowly(pause_ms);
        self
    }

    /// Number of turns.
    pub(super) fn turns(&self) -> usize {
        self.changes.len()
    }

    /// The ids of all calls, in order.
    pub(super) fn calls(&self) -> Vec<&str> {
        self.expected.keys().map(String::as_str).collect()
    }
}

/// Long enough to be killed in the middle of it.
const SPEECH: &str = "I shall think about this aloud for a while, so that there is time enough for somebody to come along and \
    to pull the plug in the middle of a sentence; whoever reads this has seen that nobody did, or that somebody did and \
    that it made no difference at all, because an answer counts only when its end has come, and not a moment earlier than \
    that, however long it was. This goes on for some time, since a stream of words takes as long as its words are many.";

/// The agent that mends the app and is killed all the time.
pub(super) fn first() -> Plan {
    let changes_md = "# Changes\n\n- double() multiplies\n";
    let mut plan = Plan::new("model-one");
    plan.turn("I look around.", &[bash("one_01", "cd /workspace && ls app && cat app/README.md", &["# App", "old.txt"])], &[])
        .turn("", &[call("one_02", "Skill", json!({"skill": "mending"}), &["mending"])], &[])
        .turn("", &[bash("one_03", "sh app/tests/run.sh; echo \"code $?\"", &["not ok twenty-one: 23 is not 42", "code 1"])], &[])
        .turn(
            SPEECH,
            &[call("one_04", "Read", json!({"file_path": "/workspace/app/lib/double.sh"}), &["3\t  echo $(($1 + 2))"])],
            &[],
        )
        .slowly(60)
        .turn(
            "",
            &[call(
                "one_05",
                "Edit",
                json!({"file_path": "/workspace/app/lib/double.sh", "old_string": "$1 + 2", "new_string": "$1 * 2"}),
                &["/workspace/app/lib/double.sh has been updated"],
            )],
            &[("app/lib/double.sh", Some(DOUBLE_MENDED))],
        )
        .turn("", &[bash("one_06", "echo begun; sleep 3; sh app/tests/run.sh", &["begun", "ok two\nok twenty-one"])], &[])
        .turn(
            "",
            &[call("one_07", "Write", json!({"file_path": "/memories/learned.md", "content": LEARNED}), &["created"])],
            &[],
        )
        .turn(
            "",
            &[
                call("one_08a", "Glob", json!({"pattern": "app/**/*.sh"}), &["double.sh", "run.sh"]),
                call("one_08b", "Grep", json!({"pattern": "^double\\(\\)", "path": "/workspace"}), &["app/lib/double.sh"]),
                call("one_08c", "Read", json!({"file_path": "/memories/learned.md"}), &["it must multiply"]),
            ],
            &[],
        )
        .turn(
            "",
            &[call("one_09", "Write", json!({"file_path": "/workspace/app/CHANGES.md", "content": changes_md}), &["created"])],
            &[("app/CHANGES.md", Some(changes_md))],
        )
        .turn(
            "",
            &[bash(
                "one_10",
                "until grep -q second /memories/notes.md 2>/dev/null; do sleep 0.1; done; sleep 3; cat /memories/notes.md",
                &["written by echo in the second sandbox"],
            )],
            &[],
        )
        .turn(
            SPEECH,
            &[bash("one_11", "cd /workspace/app && mv old.txt kept.txt && sed -i s/out/not/ kept.txt && cat kept.txt", &["not of date"])],
            &[("app/old.txt", None), ("app/kept.txt", Some("not of date\n"))],
        )
        .slowly(150)
        .turn(
            "",
            &[
                bash("one_12", "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; ls -A ~ /", &["PATH="]),
                bash("one_13", "echo '- seen in the first sandbox' >> /memories/notes.md; cat /memories/*.md", &[
                    "the second agent has read this",
                    "seen in the first sandbox",
                ]),
                call("one_14", "Edit", json!({
                    "file_path": "/workspace/app/CHANGES.md", "old_string": "multiplies", "new_string": "multiplies (tested)",
                }), &["has been updated"]),
            ],
            &[("app/CHANGES.md", Some("# Changes\n\n- double() multiplies (tested)\n"))],
        )
        .turn("The app is mended.", &[], &[]);
    plan
}

/// The agent that works beside it, on a fork.
pub(super) fn second() -> Plan {
    let mut plan = Plan::new("model-two");
    let report = "# Report\n\nall is well\n";
    plan.turn("", &[bash("two_01", "find /workspace -type f | wc -l", &[])], &[])
        .turn("", &[call("two_02", "Read", json!({"file_path": "/skills/mending/SKILL.md"}), &["# Mending"])], &[])
        .turn(
            "",
            &[bash(
                "two_03",
                "until test -s /memories/learned.md; do sleep 0.1; done; cat /memories/learned.md; \
                 echo '- the second agent has read this' >> /memories/learned.md",
                &["it must multiply"],
            )],
            &[],
        )
        .turn("", &[bash("two_04", "echo '- written by echo in the second sandbox' >> /memories/notes.md", &[])], &[])
        .turn(
            "",
            &[call("two_05", "Write", json!({"file_path": "/workspace/report.md", "content": report}), &["created"])],
            &[("report.md", Some(report))],
        )
        .turn("", &[bash("two_06", "cd app && sh tests/run.sh", &["Exit code 1", "not ok twenty-one"])], &[])
        .turn(
            "",
            &[call("two_07", "Grep", json!({"pattern": "all is well", "output_mode": "content"}), &["report.md"])],
            &[],
        )
        .turn("", &[bash("two_08", "mkdir -p /tmp/x && cp -r app /tmp/x && ls /tmp/x/app", &["README.md"])], &[])
        .turn(
            "",
            &[call(
                "two_09",
                "Edit",
                json!({"file_path": "/workspace/report.md", "old_string": "all is well", "new_string": "all was well"}),
                &["has been updated"],
            )],
            &[("report.md", Some("# Report\n\nall was well\n"))],
        )
        .turn("", &[bash("two_10", "cat /memories/learned.md", &["the second agent has read this"])], &[])
        .turn(
            "",
            &[bash("two_11", "rm /workspace/report.md; wc -l < /workspace/app/effects.log", &["7"])],
            &[("report.md", None)],
        )
        .turn("The report was not needed.", &[], &[]);
    assert!(SKILL.contains("# Mending"));
    plan
}
