//! Skill: loads the instructions of a skill into the conversation; and what the system prompt says of the place.

use api::wire::document::{Document, DocumentsQuery};
use vfs_core::Result;

use super::limits::SKILLS_MAX;
use super::{Request, Toolbox, texts};
use crate::call::ToolResult;
use crate::routes::Place;
use crate::skills::{self, Skill};

impl Toolbox {
    pub(super) async fn skill(&mut self, request: &Request<'_>) -> Result<ToolResult> {
        let name = request.text("skill").trim().trim_start_matches('/').to_owned();
        self.refresh_skills().await?;
        let refused = |text: String| Ok(ToolResult::error(texts::refused(&text)));
        let Some(skill) = self.skills.find(&name) else { return refused(format!("Unknown skill: {name}")) };
        if skill.is_for_people {
            return refused(format!("Skill {name} cannot be used with Skill tool due to disable-model-invocation"));
        }
        let folder = self.routes.document(&format!("skills/{name}")).unwrap_or_default();
        let body = skill.expand(request.text("args"), &folder, &self.options.session);
        let follow_up = Some(format!("Base directory for this skill: {folder}\n\n{body}"));
        Ok(ToolResult { follow_up, ..ToolResult::ok(format!("Launching skill: {name}")) })
    }

    /// Reads the skills that are new or changed since the last time.
    async fn refresh_skills(&mut self) -> Result<()> {
        let query =
            DocumentsQuery { view: Some(self.view().join(",")), prefix: Some("skills".into()), ..Default::default() };
        let heads = self.options.client.documents(&query).await?;
        let mut fresh = Vec::new();
        for head in heads.iter().filter(|head| skills::name_of(&head.path).is_some()).take(SKILLS_MAX) {
            fresh.push(self.load_skill(head).await?);
        }
        self.skills.replace(fresh.into_iter().flatten().collect());
        Ok(())
    }

    async fn load_skill(&self, head: &Document) -> Result<Option<Skill>> {
        let Some(name) = skills::name_of(&head.path) else { return Ok(None) };
        let tag = format!("{}@{}", head.scope, head.version);
        if let Some(known) = self.skills.find(name).filter(|known| known.tag == tag) {
            return Ok(Some(known.clone()));
        }
        // Deleted a moment ago: then it is none.
        let found = self.content(&Place::Document(head.path.clone())).await?;
        Ok(found.map(|(tag, content)| skills::parse(name, tag, &String::from_utf8_lossy(&content))))
    }

    /// What the system prompt says of the place and its skills.
    pub(super) async fn instruct(&mut self) -> Result<String> {
        self.refresh_skills().await?;
        let mut text = format!(
            "# Environment\n\
             Your working directory is {0}: the files of the workspace {1}. {0}, /skills and /memories are the same for all \
             tools; other paths exist in the sandbox of Bash only, and do not last.\n\
             Memories are documents in /memories: they outlive this session, and other sessions of yours see them at once. \
             Look there when the task may build on earlier work, and write down what will be worth knowing. ",
            self.routes.workspace, self.options.workspace,
        );
        text.push_str(&match self.options.grants.as_slice() {
            [] => "You may read documents, not write them.\n".to_owned(),
            grants => format!("You may write documents of {}; others are read-only.\n", grants.join(", ")),
        });
        let list = self.skills.list();
        if !list.is_empty() {
            text.push_str(&format!(
                "\n# Skills\nThe following skills are available for use with the Skill tool:\n\n{list}\n"
            ));
        }
        Ok(text)
    }
}
