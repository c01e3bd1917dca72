//! What the model of the demo says, turn by turn.

use harness::scripted::Line;
use serde_json::json;

/// The turn in which the agent is killed: the second run of the tests.
pub(super) const KILLED_IN: usize = 5;

/// The script. Each turn fits what the tools answered to the turn before.
pub(super) fn script() -> Vec<Line> {
    let line = |says, tool, input| Line { says, tool: Some((tool, input)) };
    vec![
        line("There is a skill for this.", "Skill", json!({ "skill": "fix-tests" })),
        line("First I run the tests.", "Bash", json!({ "command": "sh tests/run.sh" })),
        line("\"slug\" keeps the spaces.", "Read", json!({ "file_path": "/workspace/slug.sh" })),
        line(
            "It replaces only the first space.",
            "Edit",
            json!({
                "file_path": "/workspace/slug.sh",
                "old_string": "sed 's/ /-/'",
                "new_string": "sed 's/  */-/g'",
            }),
        ),
        line("Now all the tests, the slow ones too.", "Bash", json!({ "command": "sh tests/run.sh --slow" })),
        line(
            "All pass. I write down what I learned.",
            "Write",
            json!({
                "file_path": "/memories/project.md",
                "content": "# This project\n\n* `sh tests/run.sh` runs the tests, `--slow` all of them.\n",
            }),
        ),
        line(
            "",
            "Bash",
            json!({ "command": "echo '* sed replaces once a line unless it ends in /g.' >> /memories/project.md" }),
        ),
        Line { says: "Fixed: `slug` replaced only the first space. I noted how to run the tests.", tool: None },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_killed_in_a_command_of_the_script() {
        let script = script();
        let tool = script[KILLED_IN - 1].tool.as_ref().map(|(name, _)| *name);
        assert_eq!(tool, Some("Bash"));
    }

    #[test]
    fn only_the_last_line_asks_for_nothing() {
        let script = script();
        let without = script.iter().position(|line| line.tool.is_none());
        assert_eq!(without, Some(script.len() - 1));
    }
}
