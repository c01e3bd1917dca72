//! A workspace mounted by a process of its own, which ends with the guard.
//!
//! Never looks into a mount that may be dead (that could hang); mounts are found in `/proc/self/mountinfo`.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use super::command::wait;
use super::{PATIENCE, Run, World};

/// A mounted workspace.
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) dir: PathBuf,
    workspace: String,
    options: Vec<String>,
    child: Option<Child>,
}

impl Mount {
    /// Mounts `workspace` at `<world>/<name>` and waits until it is there.
    pub(crate) fn new(world: &World, workspace: &str, name: &str) -> Mount {
        Mount::with_options(world, workspace, name, &[])
    }

    /// The same with more arguments for `esker mount`.
    pub(crate) fn with_options(world: &World, workspace: &str, name: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut mount = Mount { dir: world.folder(name), workspace: workspace.to_owned(), options, child: None };
        mount.start(world);
        mount
    }

    /// Mounts again, after the process has ended in whatever way.
    pub(crate) fn start(&mut self, world: &World) {
        assert!(self.child.is_none(), "still mounted");
        let log_path = world.path(format!("mount-{}.log", self.workspace));
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path).expect("a log file");
        let mut child = world
            .command(["mount", &self.workspace])
            .arg(&self.dir)
            .args(&self.options)
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .expect("esker mount starts");
        let start = Instant::now();
        while !(is_alive(&self.dir) && is_mounted(&self.dir)) {
            let ended = child.try_wait().expect("a child can be waited for");
            if ended.is_some() || start.elapsed() > PATIENCE {
                let _ = child.kill();
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                panic!("{} is not mounted after {:?} ({ended:?}):\n{log}", self.dir.display(), start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child = Some(child);
    }

    /// The process of the mount.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.child.as_ref().expect("mounted"))
    }

    /// Kills the process as a crash would, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("mounted");
        child.kill().expect("the mount's process can be killed");
        child.wait().expect("the mount's process ends");
    }

    /// Takes note that somebody else killed the process.
    pub(crate) fn killed(&mut self) {
        let mut child = self.child.take().expect("mounted");
        wait(&mut child, PATIENCE).expect("the killed mount ends");
    }

    /// Unmounts through the command, and waits for the process to end well.
    pub(crate) fn unmount(&mut self, world: &World) {
        world.command(["unmount"]).arg(&self.dir).run().ok();
        let mut child = self.child.take().expect("mounted");
        let status = wait(&mut child, PATIENCE).expect("the mount's process ends after unmount");
        assert!(status.success(), "the mount's process ended with {status}");
        assert!(!is_mounted(&self.dir), "still in the mount table");
    }

    /// A path in the mount.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.dir) {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether something is mounted exactly here.
pub(crate) fn is_mounted(dir: &Path) -> bool {
    mount_points().iter().any(|point| point == dir)
}

/// Whether whatever is there answers. A dead mount is still in the mount table, and its cached attributes and open folders
/// outlive its process, so the kernel must be made to ask.
fn is_alive(dir: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    statx(CWD, dir, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS).is_ok()
}

/// Where something is mounted below a folder.
pub(crate) fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    mount_points().into_iter().filter(|point| point.starts_with(folder)).collect()
}

/// Unmounts everything below a folder, innermost first.
pub(crate) fn unmount_below(folder: &Path) {
    for point in mount_points().into_iter().rev().filter(|point| point.starts_with(folder)) {
        let _ = unmount(&point, UnmountFlags::DETACH);
    }
}

/// Processes of the program under test whose command line names something in `folder`.
pub(crate) fn processes_naming(folder: &Path) -> Vec<i32> {
    use std::os::unix::ffi::OsStrExt;
    let wanted = folder.as_os_str().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let ours = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == super::esker());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if ours && line.windows(wanted.len()).any(|window| window == wanted) {
            found.push(pid);
        }
    }
    found
}

fn mount_points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").expect("the mount table can be read");
    table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
        .collect()
}

/// Undoes the octal escapes of the mount table.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    plain
}

#[test]
fn octal_escapes_of_the_mount_table_are_undone() {
    assert_eq!(unescape(b"/a\\040b\\134c"), b"/a b\\c");
    assert_eq!(unescape(b"/plain\\"), b"/plain\\");
}
