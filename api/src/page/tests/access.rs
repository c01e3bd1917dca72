//! Who gets in: links, cookies, hosts, origins.

use std::time::Duration;

use super::browser::Browser;
use crate::client::{Client, Endpoint};
use crate::limits::{CODE_LIFE, VISIT_LIFE};
use crate::server::tests_world::{TOKEN, World};
use crate::server::{Listeners, ServerState};
use vfs_core::Kind;

/// Pages that need a visit, and some that are not there.
const INSIDE: [&str; 8] = [
    "/admin",
    "/admin/workspaces/w",
    "/admin/workspaces/w/at/HEAD",
    "/admin/workspaces/w/at/HEAD/download?path=file",
    "/admin/workspaces/w/diff?from=HEAD&to=HEAD",
    "/admin/sessions",
    "/admin/documents",
    "/admin/nothing/of/the/kind",
];

#[tokio::test]
async fn a_link_lets_one_browser_in_once() {
    let world = World::new().await;
    let link = world.client.admin_link().await.unwrap();
    let start = format!("http://{}/admin/login?code=", world.address);
    let code = link.url.strip_prefix(&start).expect("a link to where the engine listens anyway");
    assert!(code.len() == 64 && link.expires_s == CODE_LIFE.as_secs());
    let stranger = Browser::stranger(world.address);
    // Looking at the link uses nothing up.
    for _ in 0..2 {
        let answer = stranger.get(&format!("/admin/login?code={code}")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.page().links.contains(&"/admin/login".to_owned()));
    }
    let answer = stranger.enter(code).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/admin"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with(&format!("esker_{}=", world.address.port())), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"), "{cookie}");
    assert!(!cookie.contains(code), "the cookie is the code");
    let visitor = Browser { cookie: cookie.split(';').next().unwrap().to_owned(), ..stranger };
    assert_eq!(visitor.get("/admin").await.status, 200);
    let again = Browser::stranger(world.address).enter(code).await;
    assert_eq!(again.status, 403);
    assert!(again.page().text.contains("esker admin"));
}

#[tokio::test]
async fn without_a_good_cookie_there_is_nothing_to_see() {
    let world = World::new().await;
    world.repo.create_workspace("w", Some("the-source"), None).await.unwrap();
    let visitor = Browser::visiting(&world.state, world.address).await;
    let (name, secret) = visitor.cookie.split_once('=').unwrap();
    let wrong = [
        String::new(),
        "x=y".into(),
        format!("{name}="),
        format!("{name}={}", "0".repeat(64)),
        format!("{name}={}", &secret[1..]),
        format!("{name}={secret}0"),
        format!("{name}={}", secret.to_uppercase()),
        format!("esker_1={secret}"),
        format!("x{name}={secret}"),
    ];
    for cookie in wrong {
        let browser = Browser { address: world.address, cookie: cookie.clone() };
        for path in INSIDE {
            let answer = browser.get(path).await;
            assert_eq!(answer.status, 401, "{cookie} {path}");
            assert!(!answer.page().text.contains("the-source"));
        }
    }
    assert!(visitor.get("/admin").await.page().text.contains("the-source"));
    // The API's own token is no cookie, and a cookie is no token.
    let with_token = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", world.address);
    assert_eq!(Browser::stranger(world.address).send("GET", "/admin", &with_token, "").await.status, 401);
    assert_eq!(world.over_tcp(secret).workspaces().await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn codes_and_visits_end() {
    let world = World::new().await;
    let code = world.state.door().make_code().unwrap();
    let later = world.state.door().make_code().unwrap();
    world.state.door().age(CODE_LIFE - Duration::from_secs(5));
    assert_eq!(Browser::stranger(world.address).enter(&later).await.status, 303);
    world.state.door().age(Duration::from_secs(6));
    assert_eq!(Browser::stranger(world.address).enter(&code).await.status, 403);
    let visitor = Browser::visiting(&world.state, world.address).await;
    world.state.door().age(VISIT_LIFE - Duration::from_secs(5));
    assert_eq!(visitor.get("/admin").await.status, 200);
    world.state.door().age(Duration::from_secs(6));
    assert_eq!(visitor.get("/admin").await.status, 401);
}

#[tokio::test]
async fn logging_out_ends_the_visit_and_only_that() {
    let world = World::new().await;
    let visitor = Browser::visiting(&world.state, world.address).await;
    let other = Browser::visiting(&world.state, world.address).await;
    let origin = format!("origin: http://{}\r\n", world.address);
    let answer = visitor.post("/admin/logout", &origin, "").await;
    assert_eq!(answer.status, 303);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(visitor.get("/admin").await.status, 401);
    assert_eq!(other.get("/admin").await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_refused() {
    let world = World::new().await;
    let visitor = Browser::visiting(&world.state, world.address).await;
    let port = world.address.port();
    assert_eq!(visitor.send("GET", "/admin", &format!("host: localhost:{port}\r\n"), "").await.status, 200);
    let hosts = [
        String::new(),
        format!("host: evil.example:{port}\r\n"),
        "host: 127.0.0.1\r\n".into(),
        format!("host: 127.0.0.1.evil.example:{port}\r\n"),
        format!("host: 127.0.0.1:{port}\r\nhost: evil.example\r\n"),
        format!("host: evil.example:{port}\r\nx-forwarded-host: 127.0.0.1:{port}\r\n"),
    ];
    for host in hosts {
        for path in ["/admin", "/admin/login", "/admin/style.css", "/admin/nothing"] {
            let answer = visitor.send("GET", path, &host, "").await;
            assert_eq!(answer.status, 403, "{host} {path}");
            answer.page();
        }
    }
    // What the absolute form of a request says is not where it came to.
    let absolute = format!("http://evil.example:{port}/admin");
    let answer = visitor.send("GET", &absolute, &format!("host: evil.example:{port}\r\n"), "").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_form_of_another_place_is_refused() {
    let world = World::new().await;
    let code = world.state.door().make_code().unwrap();
    let visitor = Browser::visiting(&world.state, world.address).await;
    let ours = format!("origin: http://{}\r\n", world.address);
    let port = world.address.port();
    let origins = [
        String::new(),
        "origin: null\r\n".into(),
        "origin: http://evil.example\r\n".into(),
        format!("origin: https://{}\r\n", world.address),
        format!("origin: http://localhost:{port}\r\n"),
        format!("origin: http://127.0.0.1:{}\r\n", port ^ 1),
        format!("referer: http://{}/admin\r\n", world.address),
        format!("{ours}sec-fetch-site: cross-site\r\n"),
        format!("{ours}{ours}"),
    ];
    for origin in origins {
        for path in ["/admin/login", "/admin/logout"] {
            let answer = visitor.post(path, &origin, &format!("code={code}")).await;
            assert_eq!(answer.status, 403, "{origin} {path}");
        }
    }
    assert_eq!(visitor.get("/admin").await.status, 200, "a foreign form has ended the visit");
    let same = format!("{ours}sec-fetch-site: same-origin\r\n");
    assert_eq!(
        visitor.post("/admin/login", &same, &format!("code={code}")).await.status,
        303,
        "a foreign form has used the code up"
    );
}

#[tokio::test]
async fn wrong_requests_are_pages_too() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    let visitor = Browser::visiting(&world.state, world.address).await;
    let ours = format!("host: {0}\r\norigin: http://{0}\r\n", world.address);
    for (method, path, status) in [
        ("GET", "/admin/nothing", 404),
        ("GET", "/admin/workspaces/none", 404),
        ("GET", "/admin/workspaces/%ff", 400),
        ("GET", "/admin/workspaces/w?skip=-1", 400),
        ("GET", "/admin/workspaces/w?what=1", 400),
        ("GET", "/admin/workspaces/w/at/ffff", 404),
        ("GET", "/admin/workspaces/w/at/HEAD?path=none", 404),
        ("GET", "/admin/workspaces/w/at/HEAD?path=..", 400),
        ("GET", "/admin/workspaces/w/at/HEAD/download?path=none", 404),
        ("GET", "/admin/workspaces/w/diff", 400),
        ("GET", "/admin/workspaces/w/diff/file?from=HEAD&to=HEAD&path=none", 404),
        ("POST", "/admin/workspaces/w", 405),
        ("DELETE", "/admin", 405),
        ("PUT", "/admin/login", 405),
        ("GET", "/admin/logout", 405),
        ("GET", "/admin/login?code=%3Cscript%3E", 403),
    ] {
        let answer = visitor.send(method, path, &ours, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.page();
    }
    let large =
        visitor.post("/admin/login", &format!("origin: http://{}\r\n", world.address), &"x".repeat(2_000)).await;
    assert_eq!(large.status, 403);
}

#[tokio::test]
async fn only_the_socket_gives_links() {
    let world = World::new().await;
    assert_eq!(world.over_tcp(TOKEN).admin_link().await.unwrap_err().kind(), Kind::Denied);
}

/// An engine without a TCP address.
async fn quiet_engine(world: &World) -> (ServerState, Client, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let info = crate::server::EngineInfo { data_folder: folder.path().into(), bucket: "memory:".into(), token: None };
    let state = ServerState::new(world.repo.clone(), info, std::sync::Arc::new(vfs_core::clock::SystemClock));
    let socket = folder.path().join("engine.sock");
    let bound = Listeners { unix: Some(socket.clone()), tcp: None }.bind().await.unwrap();
    tokio::spawn(bound.serve(state.clone(), std::future::pending()));
    (state, Client::new(Endpoint::Unix(socket)).unwrap(), folder)
}

#[tokio::test]
async fn the_page_has_a_port_of_its_own_once_somebody_asks_for_it() {
    let world = World::new().await;
    let (state, client, _folder) = quiet_engine(&world).await;
    client.status().await.unwrap();
    assert!(state.idle_for() < Duration::from_secs(5));
    let (one, other) = tokio::join!(client.admin_link(), client.admin_link());
    let (one, other) = (one.unwrap().url, other.unwrap().url);
    let address = |url: &str| url.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    let here: std::net::SocketAddr = address(&one);
    assert_eq!(here, address(&other));
    assert!(here.ip().is_loopback());
    assert_eq!(state.idle_for(), Duration::ZERO, "the engine leaves before the link is opened");
    let visitor = Browser::visiting(&state, here).await;
    assert_eq!(visitor.get("/admin").await.status, 200);
    // The port has the page and nothing else: no API, whatever one brings.
    let headers = format!("host: {here}\r\nauthorization: Bearer {TOKEN}\r\n");
    let answer = visitor.send("GET", "/v1/status", &headers, "").await;
    assert_eq!(answer.status, 404);
    answer.page();
    assert_eq!(visitor.get("/").await.header("location"), "/admin");
}
