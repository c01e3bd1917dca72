//! An engine in memory with a workspace `w`, and tools of the agent `main`.

use std::sync::Arc;

use api::client::{Basis, FileBasis, Put};
use api::server::{EngineInfo, ServerState};
use api::wire::document::WriteDocumentQuery;
use api::wire::workspace::CreateWorkspace;
use tempfile::TempDir;
use vfs_core::clock::SystemClock;
use vfs_core::repo::Repo;

use super::super::*;
use crate::sandbox::{Bind, Sandbox};

pub(super) struct World {
    pub(super) client: Client,
    pub(super) folder: TempDir,
}

/// Tools, and a number for each call.
pub(super) struct Used {
    pub(super) tools: Toolbox,
    calls: u32,
}

impl World {
    pub(super) async fn new() -> World {
        let folder = TempDir::new().unwrap();
        for name in ["data", "workspace"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let repo = Repo::in_memory(Arc::new(SystemClock)).await.unwrap();
        let info = EngineInfo { data_folder: folder.path().join("data"), bucket: "memory:".into(), token: None };
        let state = ServerState::new(repo, info, Arc::new(SystemClock));
        let client = Client::in_process(api::server::router(state)).unwrap();
        let workspace = CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() };
        client.create_workspace(&workspace).await.unwrap();
        World { client, folder }
    }

    pub(super) fn tools(&self) -> Used {
        self.tools_with(|_| {})
    }

    pub(super) fn tools_with(&self, change: impl FnOnce(&mut Options)) -> Used {
        let source = self.folder.path().join("workspace");
        let mut options = Options {
            client: self.client.clone(),
            workspace: "w".into(),
            agent: "main".into(),
            user: "ana".into(),
            grants: Vec::new(),
            session: String::new(),
            epoch: 0,
            sandbox: Sandbox::new(crate::sandbox::tests::this_program()),
            mounts: Mounts::Kept(vec![Bind { source, target: "/workspace".into(), writable: true }]),
            folder: self.folder.path().join("session"),
        };
        change(&mut options);
        Used { tools: Toolbox::new(options), calls: 0 }
    }

    pub(super) async fn put(&self, path: &str, text: &str) {
        let content = text.to_owned().into_bytes().into();
        self.client.write_file("w", path.as_bytes(), true, &FileBasis::Any, content).await.unwrap();
    }

    pub(super) async fn get(&self, path: &str) -> String {
        let found = self.client.read_file("w", None, path.as_bytes(), None).await.unwrap();
        String::from_utf8(found.content.to_vec()).unwrap()
    }

    pub(super) async fn put_document(&self, scope: &str, path: &str, text: &str) {
        self.write_document(scope, path, Basis::Absent, text).await;
    }

    pub(super) async fn put_document_on(&self, scope: &str, path: &str, version: u64, text: &str) {
        self.write_document(scope, path, Basis::Version(version), text).await;
    }

    async fn write_document(&self, scope: &str, path: &str, basis: Basis, text: &str) {
        let query =
            WriteDocumentQuery { scope: scope.into(), path: path.into(), author: "ana".into(), ..Default::default() };
        let put = self.client.put_document(&query, basis, text.to_owned().into_bytes().into()).await.unwrap();
        assert!(matches!(put, Put::Written(_)), "{put:?}");
    }
}

impl Used {
    pub(super) fn call(&mut self, name: &str, input: Value) -> ToolCall {
        self.calls += 1;
        ToolCall { id: format!("call-{}", self.calls), name: name.into(), input: Some(input) }
    }

    pub(super) async fn run(&mut self, call: &ToolCall) -> ToolResult {
        match self.tools.plan(call).await.unwrap() {
            Plan::Answer(result) => result,
            Plan::Run(plan) => self.tools.run(call, &plan).await.unwrap(),
        }
    }

    /// Plans a call that is going to run.
    pub(super) async fn plan(&mut self, call: &ToolCall) -> Value {
        match self.tools.plan(call).await.unwrap() {
            Plan::Answer(result) => panic!("answered: {}", result.text),
            Plan::Run(plan) => plan,
        }
    }

    pub(super) async fn say(&mut self, name: &str, input: Value) -> ToolResult {
        let call = self.call(name, input);
        let result = self.run(&call).await;
        assert!(!result.is_error, "{name}: {}", result.text);
        result
    }

    pub(super) async fn ok(&mut self, name: &str, input: Value) -> String {
        self.say(name, input).await.text
    }

    pub(super) async fn fails(&mut self, name: &str, input: Value) -> String {
        let call = self.call(name, input);
        let result = self.run(&call).await;
        assert!(result.is_error && !result.wrote, "{name}: {}", result.text);
        result.text
    }
}
