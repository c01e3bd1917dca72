//! Everything hostile that can be put into names, contents, messages, documents and conversations, each with a mark by which it
//! is found again.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use api::client::{Basis, Client, Put};
use api::wire::document::WriteDocumentQuery;
use api::wire::session::{AppendEvents, CreateSession, EndTurn, NewEvent, TakeLease};
use serde_json::{Value, json};

use crate::world::{Mount, World};

/// A hostile text that was stored somewhere.
pub(super) struct Written {
    /// Part of the text, and of no other; says where it is.
    pub(super) mark: String,
}

/// Texts, with `MARK` in the place of the mark: each is an attack on one way of showing text.
const ATTACKS: &[&str] = &[
    "<script>pwned('MARK')</script>",
    "<img src=x onerror=pwned('MARK')>",
    "\"><svg onload=pwned('MARK')>",
    "' onmouseover='pwned(1)' autofocus onfocus='pwned(2)' x='MARK",
    "javascript:pwned('MARK')",
    "</textarea></title></pre></style></span><script>pwned('MARK')</script>",
    "<meta http-equiv=refresh content=\"0;url=http://evil.invalid/MARK\">",
    "<style>body{display:none;background:url(//evil.invalid/MARK)}</style>",
    "<link rel=stylesheet href=//evil.invalid/MARK>",
    "<iframe srcdoc=\"<script>parent.pwned('MARK')</script>\"></iframe>",
    "<a href=\"javascript:pwned('MARK')\" target=_blank ping=//evil.invalid>here</a>",
    "<base href=//evil.invalid/MARK>",
    "<form action=//evil.invalid/MARK><button formaction=javascript:pwned(1)>log in</button></form>",
    "\r\nSet-Cookie: evil=MARK\r\n\r\n<script>pwned('MARK')</script>",
    "\u{202e}gpj.MARK\u{2066}\u{200b}\u{feff}",
    "<!--><script>pwned('MARK')</script><![CDATA[x]]>",
    "&lt;script&gt;pwned('MARK')&lt;/script&gt;",
    "\u{1b}]8;;http://evil.invalid\u{7}MARK\u{1b}[2J",
    "<math><mtext><table><mglyph><style><img title=\"</style><img src=x onerror=pwned('MARK')>\">",
    "{{constructor.constructor(\"pwned('MARK')\")()}}${pwned('MARK')}<%= pwned %>",
    "%3Cscript%3Epwned('MARK')%3C/script%3E?a=b&c=d#e",
    "+ADw-script+AD4-pwned('MARK')+ADw-/script+AD4-",
];

/// Puts every attack into every place that takes it.
pub(super) fn fill(world: &World) -> Vec<Written> {
    let mut texts = Texts { written: Vec::new() };
    world.esker(["workspace", "create", "w"]).ok();
    files(world, &mut texts);
    world.ask(async |client| {
        documents(&client, &mut texts).await;
        session(world, &client, &mut texts).await;
    });
    texts.written
}

struct Texts {
    written: Vec<Written>,
}

impl Texts {
    /// An attack with a mark of its own.
    fn attack(&mut self, place: &'static str, number: usize) -> String {
        let mark = format!("zq{}{number:02}zq", place.replace(' ', ""));
        let text = ATTACKS[number].replace("MARK", &mark);
        self.written.push(Written { mark });
        text
    }

    /// All attacks on a place as one text, each on a line of its own.
    fn page(&mut self, place: &'static str) -> String {
        (0..ATTACKS.len()).map(|number| self.attack(place, number) + "\n").collect()
    }
}

fn files(world: &World, texts: &mut Texts) {
    let mut mount = Mount::new(world, "w", "m");
    for number in 0..ATTACKS.len() {
        // A slash makes a folder: the path as a whole is the attack then.
        let name = texts.attack("name", number).replace("//", "/");
        let path = mount.path(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, texts.attack("content", number)).unwrap();
        let message = texts.attack("message", number);
        world.esker(["checkpoint", "w", "-m", &message]).ok();
    }
    for (name, content) in [("evil.html", "<script>pwned('html')</script>"), ("evil.svg", "<svg onload=pwned('svg')/>")]
    {
        fs::write(mount.path(name), content).unwrap();
    }
    fs::write(mount.path(OsStr::from_bytes(b"bytes \xff\xfe <b>.txt")), b"\xff\xfe\x00<script>pwned('bytes')</script>")
        .unwrap();
    std::os::unix::fs::symlink("javascript:pwned('link')", mount.path("link")).unwrap();
    fs::write(mount.path("changed"), "harmless\n").unwrap();
    world.checkpoint("w", "before the change");
    fs::write(mount.path("changed"), texts.page("change")).unwrap();
    world.checkpoint("w", "after the change");
    mount.unmount(world);
}

async fn documents(client: &Client, texts: &mut Texts) {
    for number in 0..ATTACKS.len() {
        // No control characters in a path, and no empty segment.
        let path = texts.attack("document", number).replace("//", "/");
        let path: String = path.chars().filter(|letter| !letter.is_control()).collect();
        let content = texts.attack("memory", number);
        put(client, &format!("memories/{}", path.trim_matches('/')), content, None).await;
    }
    put(client, "memories/changed.md", "harmless\n".to_owned(), None).await;
    put(client, "memories/changed.md", texts.page("version"), Some(1)).await;
}

async fn put(client: &Client, path: &str, content: String, version: Option<u64>) {
    let query = WriteDocumentQuery {
        scope: "agent/main".to_owned(),
        path: path.to_owned(),
        author: "agent <b>".to_owned(),
        ..WriteDocumentQuery::default()
    };
    let basis = version.map_or(Basis::Absent, Basis::Version);
    let written = client.put_document(&query, basis, content.into_bytes().into()).await;
    let written = written.unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(matches!(written, Put::Written(_)), "{path:?}: {written:?}");
}

async fn session(world: &World, client: &Client, texts: &mut Texts) {
    let log = world.esker(["log", "w", "-n", "1", "--json"]).ok().json();
    let snapshot = log[0]["snapshot"].as_str().expect("a snapshot").to_owned();
    for number in 0..ATTACKS.len() {
        let title = texts.attack("title", number);
        // A title with control characters is refused.
        let title: String = title.chars().filter(|letter| !letter.is_control()).collect();
        let request = CreateSession { workspace: "w".into(), agent: "main".into(), user: "ana".into(), title };
        let session =
            client.create_session(&request).await.unwrap_or_else(|error| panic!("{:?}: {error}", request.title));
        if number > 0 {
            continue;
        }
        // Shown only while the lease lives, so it is not looked for.
        let lease = TakeLease { owner: ATTACKS[1].to_owned(), dead_epoch: None };
        let epoch = client.take_session(&session.id, &lease).await.expect("the lease").epoch;
        let events = conversation(&snapshot, texts);
        client.append_events(&session.id, &AppendEvents { epoch, events }).await.expect("the events");
        let end = EndTurn { epoch, snapshot: snapshot.parse().expect("an id"), data: Value::Null };
        client.end_turn(&session.id, 1, &end).await.expect("the end of the turn");
    }
}

/// One turn in which everybody says the worst.
fn conversation(snapshot: &str, texts: &mut Texts) -> Vec<NewEvent> {
    let event = |key: &str, kind: &str, turn: u64, call: &str, data: Value| NewEvent {
        key: key.into(),
        kind: kind.into(),
        turn,
        tool_call: call.into(),
        data,
    };
    let prompt = json!({"model": "m", "max_tokens": 1, "system": texts.page("system"), "tools": []});
    let started = json!({"task": texts.page("task"), "prompt": prompt, "snapshot": snapshot});
    let name = texts.attack("tool", 0);
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {"command": texts.page("input")}});
    let content = json!([{"type": "text", "text": texts.page("answer")}, call]);
    let answer = json!({"id": "msg_1", "model": "m", "content": content, "stop_reason": "tool_use", "usage": {}});
    let result = json!({"text": texts.page("result"), "is_error": false, "wrote": true});
    vec![
        event("start", "session.started", 0, "", started),
        event("user:1", "user.message", 0, "", json!({"text": texts.page("user")})),
        event("turn:1", "turn.started", 1, "", json!({})),
        event("answer:1", "model.answer", 1, "", answer),
        event("started:toolu_1", "tool.started", 1, "toolu_1", json!({"name": "Bash"})),
        event("finished:toolu_1", "tool.finished", 1, "toolu_1", json!({"name": "Bash", "result": result})),
        event(
            "notice:1:1",
            "notice",
            1,
            "",
            json!({"text": texts.attack("notice", 1), "message": texts.attack("notice message", 0)}),
        ),
    ]
}
