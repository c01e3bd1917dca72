//! Scripted tools: Read may run again, Write and Bash must not, Slow is away for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use vfs_core::{Error, Kind, Result};

use super::{Engine, Points};
use crate::call::{Plan, ToolCall, ToolResult, Tools};

/// What the calls did to the world. Outlives the drivers.
pub(crate) struct Effects {
    points: Arc<Points>,
    engine: Arc<Engine>,
    done: Mutex<HashMap<String, u64>>,
    pub(crate) revived: AtomicU64,
}

impl Effects {
    pub(super) fn new(points: Arc<Points>, engine: Arc<Engine>) -> Effects {
        Effects { points, engine, done: Mutex::default(), revived: AtomicU64::new(0) }
    }

    /// How often each call had its effect.
    pub(crate) fn done(&self) -> HashMap<String, u64> {
        self.done.lock().unwrap().clone()
    }

    /// As new.
    pub(super) fn reset(&self) {
        self.done.lock().unwrap().clear();
    }

    async fn apply(&self, call: &ToolCall) {
        self.points.pass().await;
        *self.done.lock().unwrap().entry(call.id.clone()).or_default() += 1;
        if call.name != "Read" {
            self.engine.write();
        }
        self.points.pass().await;
    }
}

/// The tools of one driver.
pub(crate) struct ScriptedTools {
    effects: Arc<Effects>,
    remembered: Vec<String>,
}

impl ScriptedTools {
    pub(super) fn new(effects: Arc<Effects>) -> Self {
        ScriptedTools { effects, remembered: Vec::new() }
    }

    pub(crate) fn remembered(&self) -> &[String] {
        &self.remembered
    }

    fn result(&self, call: &ToolCall) -> ToolResult {
        let input = call.input.clone().unwrap_or_default();
        let mut result = ToolResult::ok(format!("{} did {input}", call.name));
        result.wrote = call.name != "Read";
        result.follow_up = (call.name == "Skill").then(|| "the body of the skill".to_owned());
        result
    }

    /// A call whose result is in the log must never get here.
    fn assert_unfinished(&self, call: &ToolCall) {
        assert!(!self.effects.engine.has_finished(&call.id), "{} ran although it has finished", call.id);
    }
}

#[async_trait::async_trait]
impl Tools for ScriptedTools {
    async fn definitions(&mut self) -> Result<Vec<Value>> {
        Ok(vec![json!({ "name": "Read", "input_schema": { "type": "object" } })])
    }

    async fn instructions(&mut self) -> Result<String> {
        Ok("be good".into())
    }

    async fn plan(&mut self, call: &ToolCall) -> Result<Plan> {
        self.assert_unfinished(call);
        let known = ["Read", "Write", "Bash", "Skill", "Slow", "Gone", "Broken"].contains(&call.name.as_str());
        Ok(match &call.input {
            None => Plan::Answer(ToolResult::error("the input is no JSON")),
            Some(_) if !known => Plan::Answer(ToolResult::error(format!("no tool {}", call.name))),
            Some(input) => Plan::Run(json!({ "expects": input })),
        })
    }

    async fn run(&mut self, call: &ToolCall, plan: &Value) -> Result<ToolResult> {
        self.assert_unfinished(call);
        assert_eq!(plan["expects"], call.input.clone().unwrap());
        match call.name.as_str() {
            "Gone" => self.effects.engine.delete_workspace(),
            "Slow" => return Err(Error::new(Kind::Unavailable, "the mount is away")),
            "Broken" => return Err(Error::new(Kind::NoSpace, "the disk is full")),
            _ => self.effects.apply(call).await,
        }
        if call.name == "Gone" {
            return Err(Error::new(Kind::NotFound, "no such workspace"));
        }
        Ok(self.result(call))
    }

    async fn recover(&mut self, call: &ToolCall, plan: &Value) -> Result<ToolResult> {
        self.assert_unfinished(call);
        assert_eq!(plan["expects"], call.input.clone().unwrap(), "the plan is not the one of the log");
        let done = self.effects.done().contains_key(&call.id);
        if !done || call.name == "Read" {
            self.effects.apply(call).await;
        }
        Ok(self.result(call))
    }

    async fn revive(&mut self) -> Result<()> {
        self.effects.revived.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn remember(&mut self, call: &ToolCall, _: &ToolResult) {
        self.remembered.push(call.id.clone());
    }
}
