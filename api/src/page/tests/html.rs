//! A reader of our own HTML, so strict that nothing which could run gets through it: known elements, known attributes, quoted
//! values, known entities, balanced, no character in the text that could steer.

/// Elements that the page uses. None of them can run, load or embed anything.
const ELEMENTS: &[&str] = &[
    "html", "head", "meta", "title", "link", "body", "header", "main", "nav", "section", "div", "p", "span", "a", "h1",
    "h2", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "ol", "ul", "li", "pre", "code", "time",
    "strong", "form", "input", "button", "details", "summary",
];
const VOID: &[&str] = &["meta", "link", "input"];
/// Attributes that hold our own words.
const ATTRIBUTES: &[&str] = &[
    "class",
    "id",
    "method",
    "name",
    "value",
    "type",
    "start",
    "datetime",
    "aria-label",
    "aria-current",
    "checked",
    "autofocus",
    "charset",
    "content",
    "rel",
    "lang",
    "href",
    "action",
];

/// A page that was read.
pub(super) struct Document {
    /// Its text, with `\n` between elements.
    pub(super) text: String,
    /// Where its links and forms lead.
    pub(super) links: Vec<String>,
}

impl Document {
    /// Reads a page or panics.
    pub(super) fn read(html: &str) -> Document {
        let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
        let mut document = Document { text: String::new(), links: Vec::new() };
        let mut open: Vec<&str> = Vec::new();
        while let Some(at) = rest.find('<') {
            document.take_text(&rest[..at]);
            let end = at + rest[at..].find('>').unwrap_or_else(|| panic!("a tag without end: {}", start(&rest[at..])));
            let tag = &rest[at + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "unbalanced at {}", start(rest));
            } else {
                let name = document.take_tag(tag);
                if !VOID.contains(&name) {
                    open.push(name);
                }
            }
            document.text.push('\n');
        }
        assert!(rest.is_empty() && open.is_empty(), "unbalanced: {open:?}");
        document
    }

    fn take_text(&mut self, text: &str) {
        for letter in text.chars() {
            assert!(letter != '>', "a raw > in {}", start(text));
            let steers = letter.is_control() && !matches!(letter, '\n' | '\t');
            let hides = matches!(letter, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(!steers && !hides, "{letter:?} in {}", start(text));
        }
        self.text.push_str(&decode(text));
    }

    fn take_tag<'t>(&mut self, tag: &'t str) -> &'t str {
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(ELEMENTS.contains(&name), "the element {name:?}");
        while !rest.is_empty() {
            let length = rest.find(['=', ' ']).unwrap_or(rest.len());
            let attribute = &rest[..length];
            assert!(ATTRIBUTES.contains(&attribute), "the attribute {attribute:?} of {tag:?}");
            rest = &rest[length..];
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let (value, behind) = quoted.split_once('"').unwrap_or_else(|| panic!("an open quote in {tag:?}"));
                assert!(!value.contains(['<', '>']), "markup in an attribute: {tag:?}");
                self.take_attribute(attribute, &decode(value));
                rest = behind;
            }
            assert!(rest.is_empty() || rest.starts_with(' '), "something behind an attribute of {tag:?}");
            rest = rest.trim_start_matches(' ');
        }
        name
    }

    fn take_attribute(&mut self, name: &str, value: &str) {
        if !matches!(name, "href" | "action") {
            return;
        }
        let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?&=%-._~#".contains(&byte));
        assert!(plain, "a link that is not encoded: {value:?}");
        assert!(value.starts_with("/admin") || value.starts_with('#'), "a link that leads elsewhere: {value:?}");
        self.links.push(value.to_owned());
    }
}

fn start(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The text behind entities; only the four that the template engine writes are known.
fn decode(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"')];
        let (entity, letter) = known
            .into_iter()
            .find(|(entity, _)| rest[at..].starts_with(entity))
            .unwrap_or_else(|| panic!("an unknown entity: {}", start(&rest[at..])));
        decoded.push(letter);
        rest = &rest[at + entity.len()..];
    }
    decoded + rest
}

#[test]
#[should_panic(expected = "the element \"script\"")]
fn a_script_does_not_get_through_the_reader() {
    Document::read("<!DOCTYPE html><p><script>alert(1)</script></p>");
}

#[test]
#[should_panic(expected = "the attribute \"onclick\"")]
fn a_handler_does_not_get_through_the_reader() {
    Document::read("<!DOCTYPE html><p onclick=\"x\"></p>");
}

#[test]
#[should_panic(expected = "leads elsewhere")]
fn a_foreign_link_does_not_get_through_the_reader() {
    Document::read("<!DOCTYPE html><a href=\"//evil.example\"></a>");
}
