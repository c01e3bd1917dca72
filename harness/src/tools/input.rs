//! What the model may put into a call: checked against the same schemas that it is given.
//!
//! Keeps true: a tool sees only inputs that fit its schema; what does not fit is answered with the words that models
//! know.

use std::sync::LazyLock;

use serde_json::{Map, Number, Value};

use super::texts::refused;

/// Name, description and schema of each tool, by name.
static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("definitions.json")).expect("because a test reads the definitions")
});

/// What parameters of Claude Code that are not offered here may say without harm.
const HARMLESS: &[(&str, &str, Value)] = &[
    ("Bash", "run_in_background", Value::Bool(false)),
    ("Bash", "dangerouslyDisableSandbox", Value::Bool(false)),
    ("Read", "pages", Value::Null),
];

/// The `tools` of a request.
pub(crate) fn definitions() -> Vec<Value> {
    DEFINITIONS.clone()
}

/// The input of a call, whole and of the right types; or what the model is told.
pub(crate) fn check(tool: &str, input: Option<&Value>) -> Result<Map<String, Value>, String> {
    let Some(definition) = DEFINITIONS.iter().find(|definition| definition["name"] == tool) else {
        return Err(refused(&format!("Error: No such tool available: {tool}")));
    };
    let Some(Value::Object(input)) = input else {
        return Err(refused(&format!(
            "InputValidationError: {tool} failed due to the following issue:\nThe input is not a JSON object"
        )));
    };
    let schema = &definition["input_schema"];
    let properties = schema["properties"].as_object().expect("because every schema has properties");
    let (mut taken, mut issues) = (Map::new(), Vec::new());
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if input.get(name).is_none_or(Value::is_null) {
            issues.push(format!("The required parameter `{name}` is missing"));
        }
    }
    for (name, value) in input {
        match properties.get(name) {
            None if is_harmless(tool, name, value) => {}
            None => issues.push(format!("An unexpected parameter `{name}` was provided")),
            Some(_) if value.is_null() => {}
            Some(property) => match fit(name, property, value) {
                Ok(value) => _ = taken.insert(name.clone(), value),
                Err(Issue::Type(issue)) => issues.push(issue),
                Err(Issue::Choice(text)) => return Err(refused(&text)),
            },
        }
    }
    if issues.is_empty() {
        return Ok(taken);
    }
    let word = if issues.len() == 1 { "issue" } else { "issues" };
    Err(refused(&format!("InputValidationError: {tool} failed due to the following {word}:\n{}", issues.join("\n"))))
}

fn is_harmless(tool: &str, name: &str, value: &Value) -> bool {
    let empty = value.is_null() || value.as_str() == Some("");
    HARMLESS.iter().any(|(of, parameter, harmless)| *of == tool && *parameter == name && (value == harmless || empty))
}

enum Issue {
    Type(String),
    Choice(String),
}

/// The value as its property wants it; numbers and booleans may come as text.
fn fit(name: &str, property: &Value, value: &Value) -> Result<Value, Issue> {
    let wanted = property["type"].as_str().unwrap_or_default();
    let fitting = match (wanted, value) {
        ("string", Value::String(text)) => return choose(name, property, text),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => Some(value.clone()),
        ("integer", Value::Number(number)) => integer(number),
        ("integer" | "number", Value::String(text)) => text
            .trim()
            .parse::<Number>()
            .ok()
            .and_then(|number| if wanted == "integer" { integer(&number) } else { Some(number.into()) }),
        ("boolean", Value::String(text)) => match text.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    };
    let shown = if wanted == "integer" { "number" } else { wanted };
    fitting.ok_or_else(|| {
        let found = type_of(value);
        Issue::Type(format!("The parameter `{name}` type is expected as `{shown}` but provided as `{found}`"))
    })
}

fn integer(number: &Number) -> Option<Value> {
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    let number = number.as_f64()?;
    // Whole numbers that a double holds exactly.
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0).then(|| Value::from(number as i64))
}

fn choose(name: &str, property: &Value, text: &str) -> Result<Value, Issue> {
    let Some(choices) = property["enum"].as_array() else { return Ok(text.into()) };
    if choices.iter().any(|choice| choice == text) {
        return Ok(text.into());
    }
    let names: Vec<String> = choices.iter().map(Value::to_string).collect();
    let issue = Choice {
        code: "invalid_value",
        values: choices,
        path: [name],
        message: format!("Invalid option: expected one of {}", names.join("|")),
    };
    let text = serde_json::to_string_pretty(&[&issue]).unwrap_or(issue.message);
    Err(Issue::Choice(format!("InputValidationError: {text}")))
}

/// What is told of a value that is none of those allowed; the order of the fields is the one that models know.
#[derive(serde::Serialize)]
struct Choice<'a> {
    code: &'static str,
    values: &'a [Value],
    path: [&'a str; 1],
    message: String,
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tools_are_those_that_models_know() {
        let names: Vec<_> = definitions().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["Bash", "Edit", "Glob", "Grep", "Read", "Skill", "Write"]);
        for tool in definitions() {
            assert_eq!(tool["input_schema"]["additionalProperties"], false);
            assert!(tool.as_object().unwrap().keys().eq(["description", "input_schema", "name"]));
        }
    }

    #[test]
    fn wrong_inputs_are_told_in_known_words() {
        let issue = |text: &str| format!("<tool_use_error>InputValidationError: {text}</tool_use_error>");
        let table = [
            ("Nope", json!({}), "<tool_use_error>Error: No such tool available: Nope</tool_use_error>".to_owned()),
            (
                "Read",
                json!({}),
                issue("Read failed due to the following issue:\nThe required parameter `file_path` is missing"),
            ),
            (
                "Edit",
                json!({"file_path": "a"}),
                issue(
                    "Edit failed due to the following issues:\nThe required parameter `old_string` is missing\nThe required parameter `new_string` is missing",
                ),
            ),
            (
                "Read",
                json!({"file_path": 1}),
                issue(
                    "Read failed due to the following issue:\nThe parameter `file_path` type is expected as `string` but provided as `number`",
                ),
            ),
            (
                "Read",
                json!({"file_path": "a", "limit": "many"}),
                issue(
                    "Read failed due to the following issue:\nThe parameter `limit` type is expected as `number` but provided as `string`",
                ),
            ),
            (
                "Read",
                json!({"file_path": "a", "bogus": 1}),
                issue("Read failed due to the following issue:\nAn unexpected parameter `bogus` was provided"),
            ),
            (
                "Bash",
                json!({"command": "a", "run_in_background": true}),
                issue(
                    "Bash failed due to the following issue:\nAn unexpected parameter `run_in_background` was provided",
                ),
            ),
            (
                "Grep",
                json!({"pattern": "a", "output_mode": "lines"}),
                issue(
                    "[\n  {\n    \"code\": \"invalid_value\",\n    \"values\": [\n      \"content\",\n      \"files_with_matches\",\n      \"count\"\n    ],\n    \"path\": [\n      \"output_mode\"\n    ],\n    \"message\": \"Invalid option: expected one of \\\"content\\\"|\\\"files_with_matches\\\"|\\\"count\\\"\"\n  }\n]",
                ),
            ),
        ];
        for (tool, input, wanted) in table {
            assert_eq!(check(tool, Some(&input)).unwrap_err(), wanted, "{tool} {input}");
        }
        for input in [None, Some(json!([])), Some(json!("x"))] {
            assert!(check("Read", input.as_ref()).unwrap_err().contains("not a JSON object"));
        }
    }

    #[test]
    fn right_inputs_are_taken() {
        let taken = check("Read", Some(&json!({"file_path": "a", "offset": "2", "limit": 3.0, "pages": ""}))).unwrap();
        assert_eq!(Value::Object(taken), json!({"file_path": "a", "offset": 2, "limit": 3}));
        let taken =
            check("Edit", Some(&json!({"file_path": "", "old_string": "", "new_string": "x", "replace_all": "true"})));
        assert_eq!(taken.unwrap()["replace_all"], true);
        assert!(check("Bash", Some(&json!({"command": "x", "run_in_background": false, "timeout": 1.5}))).is_ok());
    }
}
