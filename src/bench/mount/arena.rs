//! Where rows run: local ext4, and an Esker workspace whose data folder lies on ext4 of the same kind.
//!
//! A loop file on tmpfs where root may make one; else the temporary folder, and the report says so. Everything is unmounted
//! and stopped on drop, in the order in which it leans on each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vfs_core::{Error, Kind, Result};

use super::super::Scratch;
use super::super::command::{program, run};

/// Size of a loop file; it is sparse.
const IMAGE: &str = "4G";
/// How long the engine may take to start, and a mount to come and go.
const PATIENCE: Duration = Duration::from_secs(30);

/// A disk to work on.
#[derive(Debug)]
struct Disk {
    path: PathBuf,
    image: Option<PathBuf>,
    what: String,
}

impl Disk {
    fn new(scratch: &Scratch, name: &str) -> Result<Disk> {
        let path = scratch.path().join(name);
        fs::create_dir(&path).map_err(|error| Error::io("cannot make a folder", error))?;
        let image = Path::new("/dev/shm").join(format!("esker-bench-{}-{name}.img", std::process::id()));
        match loop_disk(&image, &path) {
            Ok(()) => Ok(Disk { path, image: Some(image), what: "ext4 in a loop file on tmpfs".to_owned() }),
            Err(error) => {
                let _ = fs::remove_file(&image);
                let what = format!("the temporary folder, not a loop file ({})", error.context());
                Ok(Disk { path, image: None, what })
            }
        }
    }
}

fn loop_disk(image: &Path, at: &Path) -> Result<()> {
    run(program("truncate", at).args(["-s", IMAGE]).arg(image))?;
    // No lazy initialisation: it would go on in the background of the first rows.
    let lazy = "lazy_itable_init=0,lazy_journal_init=0";
    run(program("mkfs.ext4", at).args(["-q", "-F", "-E", lazy]).arg(image))?;
    run(program("mount", Path::new("/")).args(["-o", "loop"]).arg(image).arg(at))?;
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Some(image) = &self.image else { return };
        if run(program("umount", Path::new("/")).arg(&self.path)).is_err() {
            let _ = run(program("umount", Path::new("/")).arg("-l").arg(&self.path));
        }
        let _ = fs::remove_file(image);
    }
}

/// One side of the comparison. Fields drop in order: mount, engine, disk.
#[derive(Debug)]
pub(super) struct Arena {
    mount: Option<Mounted>,
    _engine: Option<Engine>,
    disk: Disk,
}

impl Arena {
    /// Local ext4.
    pub(super) fn local(scratch: &Scratch) -> Result<Arena> {
        Ok(Arena { mount: None, _engine: None, disk: Disk::new(scratch, "local")? })
    }

    /// An empty workspace, mounted.
    pub(super) fn esker(scratch: &Scratch) -> Result<Arena> {
        let disk = Disk::new(scratch, "esker")?;
        let data = disk.path.join("data");
        let engine = Engine::start(&data)?;
        run(esker(&data)?.args(["workspace", "create", "bench"]))?;
        let at = scratch.path().join("mounted");
        let mount = Mounted { data: data.clone(), at: at.clone() };
        fs::create_dir(&at).map_err(|error| Error::io("cannot make a folder", error))?;
        let mut command = esker(&data)?;
        command.args(["mount", "bench"]).arg(&at).arg("--detach");
        run(&mut command)?;
        Ok(Arena { mount: Some(mount), _engine: Some(engine), disk })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.mount.is_some() { "esker" } else { "ext4" }
    }

    /// What lies below.
    pub(super) fn disk(&self) -> &str {
        &self.disk.what
    }

    /// An empty folder for one repetition.
    pub(super) fn fresh_folder(&self, repetition: u32) -> Result<PathBuf> {
        let root = self.mount.as_ref().map_or(&self.disk.path, |mount| &mount.at);
        let folder = root.join(format!("run-{repetition}"));
        fs::create_dir(&folder).map_err(|error| Error::io(format!("cannot make {}", folder.display()), error))?;
        Ok(folder)
    }

    /// FUSE requests since the mount began; `None` on the local disk.
    pub(super) fn requests(&self) -> Result<Option<u64>> {
        let Some(mount) = &self.mount else { return Ok(None) };
        let status = run(esker(&mount.data)?.args(["--json", "status"]).arg(&mount.at))?;
        let status: serde_json::Value = serde_json::from_slice(&status)
            .map_err(|error| Error::new(Kind::Internal, "esker status printed no JSON").because(error))?;
        let requests = status["requests"].as_object();
        let counted = requests.map(|requests| {
            requests.iter().filter(|(name, _)| *name != "misses").filter_map(|(_, count)| count.as_u64()).sum()
        });
        Ok(counted)
    }
}

/// This program, as a user would call it.
fn esker(data: &Path) -> Result<Command> {
    let exe = std::env::current_exe().map_err(|error| Error::io("cannot find this program", error))?;
    let mut command = program(exe, Path::new("/"));
    command.arg("--data").arg(data);
    Ok(command)
}

#[derive(Debug)]
struct Mounted {
    data: PathBuf,
    at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = esker(&self.data).and_then(|mut command| run(command.arg("unmount").arg(&self.at)));
        if let Err(error) = unmounted {
            eprintln!("esker unmount: {}", error.context());
            let _ = run(program("umount", Path::new("/")).arg("-l").arg(&self.at));
        }
    }
}

/// An engine of our own, because one that starts by itself would keep the disk busy for a minute.
#[derive(Debug)]
struct Engine(Child);

impl Engine {
    fn start(data: &Path) -> Result<Engine> {
        let mut command = esker(data)?;
        command.arg("serve").stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| Error::io("esker serve does not start", error))?;
        let mut engine = Engine(child);
        let start = Instant::now();
        while !data.join("engine.json").exists() {
            if start.elapsed() > PATIENCE || engine.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(Error::new(Kind::Unavailable, "esker serve did not become ready"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(engine)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < PATIENCE && !self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
