//! Which path means a file of the workspace, which a document: the same for the file tools and in the sandbox.
//!
//! Keeps true: a path is made plain by its text alone, before anything is looked up, and `..` never leads out of a
//! route. Symlinks are the engine's business, which follows them inside the workspace only.

/// What an absolute path means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A path of the workspace, without a leading slash; empty for its root.
    Workspace(String),
    /// The path of a document of the view, such as `skills/review/SKILL.md`.
    Document(String),
    /// An output that was too long to show, kept under this name.
    Output(String),
    /// Nothing that a session may use.
    Outside,
}

/// Where the workspace, the documents and long outputs are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Folder of the workspace.
    pub workspace: String,
    /// Folders of documents: what stands before the path, and the first segment in the view.
    pub documents: Vec<(String, String)>,
    /// Folder of long outputs.
    pub outputs: String,
}

impl Routes {
    /// The folders that Claude models know: `/workspace`, `/skills`, `/memories`.
    pub fn claude() -> Routes {
        let documents = ["skills", "memories"].map(|name| (format!("/{name}"), name.to_owned()));
        Routes { workspace: "/workspace".into(), documents: documents.into(), outputs: "/tool-results".into() }
    }

    /// What a path means; a relative one stands on `current`.
    pub fn place(&self, path: &str, current: &str) -> Place {
        let path = absolute(path, current);
        if path.contains('\0') {
            return Place::Outside;
        }
        if let Some(rest) = below(&path, &self.workspace) {
            return Place::Workspace(rest.to_owned());
        }
        if let Some(rest) = below(&path, &self.outputs) {
            return Place::Output(rest.to_owned());
        }
        let document = self.documents.iter().find_map(|(shown, name)| match below(&path, shown)? {
            "" => Some(name.clone()),
            rest => Some(format!("{name}/{rest}")),
        });
        document.map_or(Place::Outside, Place::Document)
    }

    /// Where a document of the view is shown.
    pub fn document(&self, path: &str) -> Option<String> {
        self.documents.iter().find_map(|(shown, name)| match below(&format!("/{path}"), &format!("/{name}"))? {
            "" => Some(shown.clone()),
            rest => Some(format!("{shown}/{rest}")),
        })
    }

    /// Where a file of the workspace is shown.
    pub fn file(&self, path: &str) -> String {
        match path.trim_start_matches('/') {
            "" => self.workspace.clone(),
            path => format!("{}/{path}", self.workspace),
        }
    }

    /// The folders that exist, for people and for the sandbox.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.workspace.as_str()).chain(self.documents.iter().map(|(shown, _)| shown.as_str()))
    }
}

/// The absolute form of a path, without `.`, `..`, empty segments and a slash at its end.
pub fn absolute(path: &str, current: &str) -> String {
    let start = if path.starts_with('/') { "" } else { current };
    let mut segments: Vec<&str> = Vec::new();
    for segment in start.split('/').chain(path.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The rest of a plain path below a folder; empty for the folder itself.
pub(crate) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder == "/" {
        return path.strip_prefix('/');
    }
    match path.strip_prefix(folder)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(path: &str) -> Place {
        Place::Workspace(path.into())
    }

    fn document(path: &str) -> Place {
        Place::Document(path.into())
    }

    #[test]
    fn each_path_has_one_place() {
        let table = [
            ("/workspace", "/workspace", workspace("")),
            ("/workspace/a/b.rs", "/", workspace("a/b.rs")),
            ("/workspace//a/./b/", "/", workspace("a/b")),
            ("/workspace/a/../b", "/", workspace("b")),
            ("/workspaces/a", "/", Place::Outside),
            ("/workspace/../etc/passwd", "/", Place::Outside),
            ("/workspace/../../../etc/passwd", "/", Place::Outside),
            ("../etc/shadow", "/workspace", Place::Outside),
            ("../memories/x.md", "/workspace", document("memories/x.md")),
            ("/skills/review/SKILL.md", "/workspace", document("skills/review/SKILL.md")),
            ("/skills/../workspace/x", "/workspace", workspace("x")),
            ("/skills", "/workspace", document("skills")),
            ("/tool-results/a.txt", "/workspace", Place::Output("a.txt".into())),
            ("a.txt", "/workspace/src", workspace("src/a.txt")),
            ("", "/workspace/src", workspace("src")),
            ("..", "/workspace/src", workspace("")),
            ("~/x", "/workspace", workspace("~/x")),
            ("a\0b", "/workspace", Place::Outside),
            ("/", "/workspace", Place::Outside),
            ("/etc/passwd", "/workspace", Place::Outside),
        ];
        let routes = Routes::claude();
        for (path, current, place) in table {
            assert_eq!(routes.place(path, current), place, "{path:?} from {current}");
        }
    }

    #[test]
    fn places_lead_back_to_paths() {
        let routes = Routes::claude();
        for path in ["/workspace", "/workspace/a/b", "/skills/x/SKILL.md", "/memories"] {
            let back = match routes.place(path, "/") {
                Place::Workspace(rest) => routes.file(&rest),
                Place::Document(rest) => routes.document(&rest).unwrap(),
                other => panic!("{path} is {other:?}"),
            };
            assert_eq!(back, path);
        }
        assert_eq!(routes.document("notes/x"), None);
        assert_eq!(routes.folders().collect::<Vec<_>>(), ["/workspace", "/skills", "/memories"]);
    }
}
