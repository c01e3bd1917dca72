//! The workspace and the documents as the sandbox sees them: mounted if they are not, looked at before each command,
//! brought back when their process died, unmounted at the end if the harness mounted them.
//!
//! Keeps true: one workspace is mounted once, wherever that is on this machine; nothing is mounted over something else; the
//! key of the model is in no process that is started here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use api::client::Client;
use vfs_core::{Error, Kind, Result};

use crate::sandbox::Bind;
use crate::tools::limits::{MOUNT_ANSWER, MOUNT_PATIENCE};
use crate::tools::texts::machine_failed;

/// Variables that the command `esker` may need: where things are, and how to reach the engine and the bucket.
const VARIABLES: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"];
/// The same, by the beginning of the name.
const VARIABLE_PREFIXES: &[&str] = &["ESKER_", "AWS_"];

/// Where the folders of the sandbox come from.
#[derive(Debug)]
pub enum Mounts {
    /// Folders that somebody else keeps there.
    Kept(Vec<Bind>),
    /// Mounts that this process looks after.
    Esker(Box<EskerMounts>),
}

/// How the command `esker` is run, and for whom.
#[derive(Debug, Clone)]
pub struct EskerCommand {
    /// The program and its first arguments, such as `--data FOLDER` or `--server URL`.
    pub command: Vec<OsString>,
    /// Variables for it besides the harmless ones of this process: `ESKER_TOKEN`.
    pub environment: Vec<(OsString, OsString)>,
    /// Where mounts are made: below it `workspace` and `documents`.
    pub folder: PathBuf,
    /// Name of the workspace.
    pub workspace: String,
    /// Name of the agent.
    pub agent: String,
    /// Name of the user; empty if there is none.
    pub user: String,
    /// Scopes that may be written.
    pub grants: Vec<String>,
    /// The session, for attribution.
    pub session: String,
}

/// The two mounts of a session.
#[derive(Debug)]
pub struct EskerMounts {
    esker: EskerCommand,
    client: ClientBox,
    /// Where the workspace is, once that is known.
    workspace: Option<PathBuf>,
    /// A mount died and was brought back since somebody asked.
    came_back: bool,
}

/// A client, which has nothing to say about itself.
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Mounts {
    /// Mounts made by the command `esker` and found through the API.
    pub fn esker(client: Client, esker: EskerCommand) -> Mounts {
        Mounts::Esker(Box::new(EskerMounts { esker, client: ClientBox(client), workspace: None, came_back: false }))
    }

    /// Makes sure that everything is mounted, and says what a command sees.
    pub async fn ensure(&mut self) -> Result<Vec<Bind>> {
        match self {
            Mounts::Kept(binds) => Ok(binds.clone()),
            Mounts::Esker(mounts) => mounts.ensure().await,
        }
    }

    /// Whether a mount had died and was brought back since this was asked last.
    pub fn came_back(&mut self) -> bool {
        match self {
            Mounts::Kept(_) => false,
            Mounts::Esker(mounts) => std::mem::take(&mut mounts.came_back),
        }
    }

    /// Unmounts what was mounted here. What was written stays, published.
    pub async fn close(&mut self) -> Result<()> {
        match self {
            Mounts::Kept(_) => Ok(()),
            Mounts::Esker(mounts) => mounts.close().await,
        }
    }
}

impl EskerMounts {
    async fn ensure(&mut self) -> Result<Vec<Bind>> {
        let workspace = self.ensure_workspace().await?;
        let documents = self.ensure_documents().await?;
        let bind = |source: PathBuf, target: &str| Bind { source, target: target.into(), writable: true };
        Ok(vec![
            bind(workspace, "/workspace"),
            bind(documents.join("skills"), "/skills"),
            bind(documents.join("memories"), "/memories"),
        ])
    }

    fn own_workspace(&self) -> PathBuf {
        self.esker.folder.join("workspace")
    }

    fn own_documents(&self) -> PathBuf {
        self.esker.folder.join("documents")
    }

    async fn ensure_workspace(&mut self) -> Result<PathBuf> {
        if let Some(path) = &self.workspace
            && answers(path).await
        {
            return Ok(path.clone());
        }
        let was_there = self.workspace.take().is_some();
        let path = match self.held_here().await? {
            Some(path) => path,
            None => {
                let path = self.own_workspace();
                tracing::info!("mounting the workspace {} at {}", self.esker.workspace, path.display());
                let arguments = ["mount", "--detach"].map(OsString::from).to_vec();
                self.mount(arguments, Some(self.esker.workspace.clone()), &path).await?;
                path
            }
        };
        self.came_back |= was_there;
        self.workspace = Some(path.clone());
        Ok(path)
    }

    /// Where this machine has the workspace mounted already, by a process that lives.
    async fn held_here(&self) -> Result<Option<PathBuf>> {
        let workspace = self.client.0.workspace(&self.esker.workspace).await?;
        let Some(holder) = workspace.holder else { return Ok(None) };
        let path = PathBuf::from(&holder.mountpoint);
        if holder.host == host() {
            // Machines may have equal names: only a workspace that is mounted here is the one.
            return Ok((shows_workspace(&path) && answers(&path).await).then_some(path));
        }
        let line = format!(
            "the workspace {} is mounted on {} at {}; unmount it there, or fork it",
            workspace.name, holder.host, holder.mountpoint
        );
        if holder.connected { Err(Error::new(Kind::Busy, line)) } else { Ok(None) }
    }

    async fn ensure_documents(&mut self) -> Result<PathBuf> {
        let path = self.own_documents();
        let there = mounted(&path);
        if !(there && answers(&path).await) {
            tracing::info!("mounting the documents at {}", path.display());
            self.mount(self.document_arguments(), None, &path).await?;
            self.came_back |= there;
            for name in ["skills", "memories"] {
                make_folder(&path.join(name)).await?;
            }
        }
        Ok(path)
    }

    fn document_arguments(&self) -> Vec<OsString> {
        let esker = &self.esker;
        let mut arguments: Vec<OsString> = ["doc", "mount", "--detach"].map(OsString::from).to_vec();
        let mut option = |name: &str, value: &str| {
            if !value.is_empty() {
                arguments.extend([name.into(), value.into()]);
            }
        };
        option("--agent", &esker.agent);
        option("--user", &esker.user);
        for grant in &esker.grants {
            option("--grant", grant);
        }
        option("--session", &esker.session);
        arguments
    }

    /// `esker … mount … -- SOURCE FOLDER`; what is dead there is cleared by it.
    async fn mount(&self, arguments: Vec<OsString>, source: Option<String>, path: &Path) -> Result<()> {
        if !mounted(path) {
            tokio::fs::create_dir_all(path)
                .await
                .map_err(|error| machine_failed(format!("cannot make the folder {}", path.display()), error))?;
        }
        let mut all = arguments;
        all.push("--".into());
        all.extend(source.map(OsString::from));
        all.push(path.into());
        self.esker(&all).await
    }

    /// Runs `esker` to its end.
    async fn esker(&self, arguments: &[OsString]) -> Result<()> {
        let mut words = self.esker.command.iter();
        let program = words.next().ok_or_else(|| Error::new(Kind::Internal, "no command esker is configured"))?;
        let child = tokio::process::Command::new(program)
            .args(words)
            .args(arguments)
            .env_clear()
            .envs(harmless(std::env::vars_os()))
            .envs(self.esker.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let what = arguments.first().map_or(String::new(), |word| word.to_string_lossy().into_owned());
        let done = tokio::time::timeout(MOUNT_PATIENCE, child).await;
        let done = done.map_err(|_| Error::new(Kind::Unavailable, format!("`esker {what}` does not end")))?;
        let done = done.map_err(|error| machine_failed(format!("cannot run esker {what}"), error))?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why").trim();
        Err(Error::new(Kind::Unavailable, format!("`esker {what}` failed: {line}")))
    }

    async fn close(&mut self) -> Result<()> {
        let mut first = Ok(());
        for path in [self.own_documents(), self.own_workspace()] {
            if !mounted(&path) {
                continue;
            }
            let done = self.esker(&["unmount".into(), "--".into(), path.clone().into()]).await;
            if done.is_ok() {
                let _ = tokio::fs::remove_dir(&path).await;
            }
            first = first.and(done);
        }
        self.workspace = None;
        first
    }
}

async fn make_folder(folder: &Path) -> Result<()> {
    match tokio::fs::create_dir(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(machine_failed(format!("cannot make the folder {}", folder.display()), error))
        }
        _ => Ok(()),
    }
}

/// Whether a mount is at exactly this path, dead or alive.
fn mounted(path: &Path) -> bool {
    mount_line(path).is_some()
}

/// Whether a workspace of Esker's is mounted at exactly this path.
fn shows_workspace(path: &Path) -> bool {
    let line = mount_line(path).unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip_while(|word| *word != b"-").skip(1);
    words.next() == Some(b"fuse.esker") && words.next().is_some_and(|source| source.starts_with(b"esker:"))
}

/// The newest line of the table of mounts for this path.
fn mount_line(path: &Path) -> Option<Vec<u8>> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let wanted = escaped(path);
    let is_here = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(wanted.as_slice());
    table.split(|byte| *byte == b'\n').rfind(is_here).map(<[u8]>::to_vec)
}

/// A path as mountinfo writes it.
fn escaped(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => text.extend(format!("\\{byte:03o}").bytes()),
            byte => text.push(*byte),
        }
    }
    text
}

/// Whether a mount is there and its process answers. A dead one says ENOTCONN, a stuck one nothing.
async fn answers(path: &Path) -> bool {
    if !mounted(path) {
        return false;
    }
    let asked = path.to_owned();
    // The kernel keeps attributes and open folders of a mount beyond its process: it must be made to ask.
    let answer = tokio::task::spawn_blocking(move || {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        statx(CWD, &asked, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS).is_ok()
    });
    matches!(tokio::time::timeout(MOUNT_ANSWER, answer).await, Ok(Ok(true)))
}

/// Name of this machine, as holders give it.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The variables that a process started here may have.
fn harmless(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let allowed = |name: &OsString| {
        let Some(name) = name.to_str() else { return false };
        VARIABLES.contains(&name) || VARIABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    all.filter(|(name, _)| allowed(name)).collect()
}

#[cfg(test)]
mod tests;
