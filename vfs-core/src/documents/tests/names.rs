//! What may be a name, and which scope of a view counts.

use proptest::prelude::*;

use super::*;

#[test]
fn scopes_are_three_kinds() {
    for good in ["org", "user/ana", "agent/main", "user/ana.b-c+1", "user/äö", &format!("user/{}", "x".repeat(100))] {
        assert_eq!(good.parse::<Scope>().unwrap().as_str(), good);
    }
    let bad = ["", "orgs", "org/", "org/x", "user", "user/", "user/a/b", "user/.x", "user/-x", "user/a b", "team/x"];
    for bad in bad.into_iter().chain(["user/a,b", "user/a\n", "User/a", " org", &format!("user/{}", "x".repeat(101))]) {
        assert_eq!(kind(bad.parse::<Scope>()), Some(Kind::Invalid), "{bad:?}");
    }
}

#[test]
fn paths_are_relative_and_plain() {
    let longest = format!("{}/{}", vec!["x".repeat(255); 4].join("/"), "");
    let longest = longest.trim_end_matches('/');
    assert_eq!(longest.len(), 1023);
    for good in ["a", "skills/review/SKILL.md", "a b/ü.md", "...", ".hidden", "a/..b", longest] {
        assert_eq!(good.parse::<DocumentPath>().unwrap().as_str(), good);
    }
    for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "./a", "a\0b", "a\nb", "a\u{85}b", "a\u{7f}"] {
        assert_eq!(kind(bad.parse::<DocumentPath>()), Some(Kind::Invalid), "{bad:?}");
    }
    for long in [format!("{longest}/xx"), "x".repeat(256), format!("a/{}", "ä".repeat(128))] {
        assert_eq!(kind(long.parse::<DocumentPath>()), Some(Kind::NameTooLong), "{}", long.len());
    }
}

#[test]
fn views_and_grants_are_lists_of_scopes() {
    let view: View = "agent/main,user/ana,org".parse().unwrap();
    assert_eq!(view.to_string(), "agent/main,user/ana,org");
    for bad in ["", ",", "org,org", "org,nobody", &vec!["user/a"; 17].join(",")] {
        assert_eq!(kind(bad.parse::<View>()), Some(Kind::Invalid), "{bad:?}");
    }
    assert_eq!(view.scope_for_new(&Grants::All).unwrap().as_str(), "agent/main");
    let grants = Grants::parse(Some("org,user/ana")).unwrap();
    assert_eq!(view.scope_for_new(&grants).unwrap().as_str(), "user/ana");
    let none = Grants::parse(Some("")).unwrap();
    assert_eq!(none, Grants::Only(vec![]), "an empty list grants nothing");
    assert_eq!(kind(view.scope_for_new(&none)), Some(Kind::Denied));
    assert_eq!(Grants::parse(None).unwrap(), Grants::All);
    let refused = none.check(&Scope::org()).unwrap_err();
    assert!(refused.kind() == Kind::Denied && refused.context().contains("esker doc put --scope org"), "{refused}");
}

proptest! {
    #[test]
    fn what_is_accepted_can_be_a_relative_path_of_a_mount(text in "(\\PC|[/.\0\n]){0,40}") {
        if let Ok(path) = text.parse::<DocumentPath>() {
            prop_assert_eq!(path.as_str(), &text);
            let tree = crate::name::TreePath::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(tree.to_bytes(), text.as_bytes(), "the mount names it the same");
        }
    }
}
