//! Skills: documents `skills/NAME/SKILL.md` with front matter in YAML and instructions for a model.
//!
//! Keeps true: the folder's name is the skill's name; whatever stands in a front matter, the skill is listed.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::tools::limits::{FRONT_MATTER_BYTES_MAX, FRONT_MATTER_REPLAYED_MAX, SKILL_LINE_CHARACTERS};

/// A skill that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// Its folder.
    pub name: String,
    /// Scope and version of the document.
    pub tag: String,
    /// What it is for, on one line.
    pub description: String,
    /// When to use it, if it says so.
    pub when_to_use: String,
    /// Not for models to load by themselves; not listed.
    pub is_for_people: bool,
    /// The instructions.
    pub body: String,
}

/// The skills of a view, by name.
#[derive(Debug, Default)]
pub struct Skills(BTreeMap<String, Skill>);

/// What of a front matter is used. Everything else is left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FrontMatter {
    description: Option<String>,
    when_to_use: Option<String>,
    #[serde(rename = "disable-model-invocation")]
    disable_model_invocation: Option<bool>,
}

impl Skills {
    /// Takes a fresh list.
    pub fn replace(&mut self, skills: Vec<Skill>) {
        self.0 = skills.into_iter().map(|skill| (skill.name.clone(), skill)).collect();
    }

    /// One skill.
    pub fn find(&self, name: &str) -> Option<&Skill> {
        self.0.get(name)
    }

    /// One line for each skill that a model may load.
    pub fn list(&self) -> String {
        let lines: Vec<String> = self.0.values().filter(|skill| !skill.is_for_people).map(Skill::line).collect();
        lines.join("\n")
    }
}

impl Skill {
    fn line(&self) -> String {
        let mut text = self.description.clone();
        if !self.when_to_use.is_empty() {
            text.push_str(&format!(" - {}", self.when_to_use));
        }
        if text.chars().count() > SKILL_LINE_CHARACTERS {
            text = text.chars().take(SKILL_LINE_CHARACTERS - 1).chain(['…']).collect();
        }
        format!("- {}: {text}", self.name)
    }

    /// The instructions with their arguments: `$ARGUMENTS`, and `$0`, `$1` … for its words.
    pub fn expand(&self, arguments: &str, folder: &str, session: &str) -> String {
        let body = self.body.replace("${CLAUDE_SKILL_DIR}", folder).replace("${CLAUDE_SESSION_ID}", session);
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let (mut text, mut used) = (String::with_capacity(body.len()), false);
        let mut rest = body.as_str();
        // Left to right and once, so that what an argument says is never taken for a place of another.
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$ARGUMENTS") {
                text.push_str(arguments);
                (rest, used) = (after, true);
                continue;
            }
            let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            match rest[1..=digits].parse::<usize>() {
                // A price stays a price where there are no arguments.
                Ok(number) if !words.is_empty() && digits == 1 => {
                    text.push_str(words.get(number).copied().unwrap_or_default());
                    used = true;
                }
                _ => text.push_str(&rest[..=digits]),
            }
            rest = &rest[1 + digits..];
        }
        text.push_str(rest);
        if !used && !arguments.is_empty() {
            text.push_str(&format!("\n\nARGUMENTS: {arguments}\n"));
        }
        text
    }
}

/// The name of the skill that a document is.
pub fn name_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("skills/")?.strip_suffix("/SKILL.md")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Reads a `SKILL.md`.
pub fn parse(name: &str, tag: String, text: &str) -> Skill {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (front, body) = split(&text);
    let front = front.filter(|front| front.len() <= FRONT_MATTER_BYTES_MAX);
    let front = front.and_then(understand).unwrap_or_default();
    let description = front.description.map(|text| one_line(&text)).filter(|text| !text.is_empty());
    Skill {
        name: name.to_owned(),
        tag,
        description: description.unwrap_or_else(|| first_line(body)),
        when_to_use: front.when_to_use.map(|text| one_line(&text)).unwrap_or_default(),
        is_for_people: front.disable_model_invocation.unwrap_or(false),
        body: body.to_owned(),
    }
}

/// Nothing if it makes no sense. References to other parts of it are followed a little only: they can stand for gigabytes.
fn understand(front: &str) -> Option<FrontMatter> {
    let mut options = serde_saphyr::Options::default();
    options.alias_limits.max_total_replayed_events = FRONT_MATTER_REPLAYED_MAX;
    serde_saphyr::from_str_with_options(front, options).ok()
}

/// Front matter between lines of three dashes, and the rest.
fn split(text: &str) -> (Option<&str>, &str) {
    let Some(rest) = text.strip_prefix("---\n") else { return (None, text) };
    if let Some(body) = rest.strip_prefix("---\n") {
        return (Some(""), body.trim_start_matches('\n'));
    }
    match rest.split_once("\n---\n") {
        Some((front, body)) => (Some(front), body.trim_start_matches('\n')),
        None => match rest.strip_suffix("\n---") {
            Some(front) => (Some(front), ""),
            None => (None, text),
        },
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first line that says something, without the marks of a heading.
fn first_line(body: &str) -> String {
    let lines = body.lines().map(|line| line.trim_start_matches('#').trim());
    one_line(lines.into_iter().find(|line| !line.is_empty() && !line.starts_with("---")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skill(text: &str) -> Skill {
        parse("greet", "org@1".into(), text)
    }

    #[test]
    fn front_matter_is_read() {
        let found = skill(
            "---\nname: other\ndescription: >\n  Greets a person\n  politely\nwhen_to_use: When asked\nlicense: MIT\nmetadata: {a: [1]}\n---\n\n# Greet\n\nHi\n",
        );
        assert_eq!((found.name.as_str(), found.description.as_str()), ("greet", "Greets a person politely"));
        assert_eq!((found.when_to_use.as_str(), found.body.as_str()), ("When asked", "# Greet\n\nHi\n"));
        assert!(!found.is_for_people && skill("---\ndisable-model-invocation: true\n---\nx").is_for_people);
        assert_eq!(skill("---\r\ndescription: a\r\n---\r\nbody\r\n").description, "a");
    }

    #[test]
    fn a_bad_front_matter_is_no_reason_to_fail() {
        for text in [
            "# Title line\ntext",
            "---\n: [\n---\n# Title line\n",
            "---\ndescription: [1, 2]\n---\n# Title line\n",
            "---\ndescription: ''\n---\n## Title line\n",
            "---\n---\nTitle line",
            "---\n&a [*a]\n---\nTitle line",
        ] {
            assert_eq!(skill(text).description, "Title line", "{text:?}");
        }
        // Never ends, is empty, or is a bomb of references: listed all the same.
        let bomb = format!("---\na: &a [x,x,x,x,x,x,x,x,x]\n{}description: d\n---\nbody", (b'b'..b'k').map(|letter| {
            let (name, before) = (letter as char, (letter - 1) as char);
            format!("{name}: &{name} [*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n")
        }).collect::<String>());
        for text in ["---\ndescription: x\n", "", "---\n", "---", &bomb] {
            assert_eq!(skill(text).name, "greet");
        }
    }

    #[test]
    fn the_list_has_one_line_each() {
        let mut skills = Skills::default();
        let long = parse("b", String::new(), &format!("---\ndescription: {}\n---\n", "x".repeat(3000)));
        let hidden = parse("c", String::new(), "---\ndisable-model-invocation: true\n---\nx");
        skills.replace(vec![long, hidden, skill("---\ndescription: Greets\nwhen_to_use: Always\n---\n")]);
        let list = skills.list();
        let lines: Vec<_> = list.lines().collect();
        assert_eq!((lines.len(), lines[1]), (2, "- greet: Greets - Always"));
        assert_eq!(lines[0].chars().count(), "- b: ".len() + SKILL_LINE_CHARACTERS);
    }

    #[test]
    fn arguments_take_their_places() {
        let body = |text: &str, arguments: &str| skill(text).expand(arguments, "/skills/greet", "s1");
        assert_eq!(body("Hi $ARGUMENTS, $0 and $1!", "Bob Smith"), "Hi Bob Smith, Bob and Smith!");
        assert_eq!(body("Hi", "xyz"), "Hi\n\nARGUMENTS: xyz\n");
        assert_eq!(body("It costs $5 or $", ""), "It costs $5 or $");
        assert_eq!(body("$ARGUMENTS", "$0 $ARGUMENTS"), "$0 $ARGUMENTS");
        assert_eq!(body("${CLAUDE_SKILL_DIR}/run ${CLAUDE_SESSION_ID}", ""), "/skills/greet/run s1");
    }

    #[test]
    fn only_skill_files_are_skills() {
        assert_eq!(name_of("skills/review/SKILL.md"), Some("review"));
        for path in
            ["skills/SKILL.md", "skills/a/b/SKILL.md", "skills//SKILL.md", "memories/a/SKILL.md", "skills/a/skill.md"]
        {
            assert_eq!(name_of(path), None, "{path}");
        }
    }
}
