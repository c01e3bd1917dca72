//! Where Bash runs: bubblewrap, under a small process that outlives the harness (decision 0014).
//!
//! | file | what |
//! |---|---|
//! | `mod` | what a command sees: folders, environment, limits |
//! | `command` | starts a command, waits for it, finds it again after a crash |
//! | `runner` | the process in between: output, deadline, status |
//! | `tasks` | how many processes a command may have |
//!
//! Keeps true: a command sees `/usr`, a harmless part of `/etc` and the folders that it was given, and nothing else of
//! this machine; it has no network, no capability and no variable of ours; nothing runs without all of that.

mod command;
pub mod runner;
mod tasks;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vfs_core::{Error, Kind, Result};

pub use command::{Command as SandboxCommand, End, Fate, Reason, Wanted};

use crate::tools::limits::TMP_BYTES_MAX;
use crate::tools::texts::machine_failed;

/// What of `/etc` programs need and anybody may know. No accounts, no keys, no configuration with tokens in it.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki/tls/certs",
    "protocols",
    "python3",
    "python3.11",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];
/// The same, by the beginning of the name: Java keeps its configuration there.
const ETC_PREFIXES: &[&str] = &["java-"];
/// Parts of `/proc` that are the machine's and not the sandbox's: its root may be the machine's root, to whom the kernel
/// would let them be written. They are read-only.
const PROC_READ_ONLY: &[&str] = &["acpi", "bus", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger"];
/// The same, and they tell of the machine: they are not shown.
const PROC_HIDDEN: &[&str] = &["kcore", "keys", "latency_stats", "sched_debug", "timer_list"];
/// Devices that everybody has. The machine's own nodes would take a `chmod` from its root.
const DEVICES: &[(&str, u32, u32)] =
    &[("full", 1, 7), ("null", 1, 3), ("random", 1, 8), ("tty", 5, 0), ("urandom", 1, 9), ("zero", 1, 5)];
/// Top folders that are links into `/usr`, or folders of their own on older systems.
const TOP: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The home folder inside, which is gone after the command.
const HOME: &str = "/tmp/home";
/// Runs commands inside.
const SHELL: &str = "/bin/bash";

/// A folder of this machine that a command sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on this machine.
    pub source: PathBuf,
    /// Where it is seen.
    pub target: PathBuf,
    /// It takes writes.
    pub writable: bool,
}

/// How commands are run on this machine.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The program `bwrap`.
    pub bubblewrap: PathBuf,
    /// The runner's command line; the call's folder is added to it. `esker` has a hidden command for it.
    pub runner: Vec<OsString>,
    /// Folders with toolchains, seen read-only at their own paths.
    pub toolchains: Vec<PathBuf>,
    /// Folders of programs, looked in first.
    pub path: Vec<PathBuf>,
    /// Variables besides `PATH`, `HOME`, `LANG` and `TERM`. Not for secrets.
    pub environment: Vec<(String, String)>,
    /// `bwrap` can forbid user namespaces inside.
    pub nested_forbidden: bool,
}

impl Sandbox {
    /// A sandbox with `bwrap` from the `PATH`; `runner` is the command line that runs [`runner::main`].
    pub fn new(runner: Vec<OsString>) -> Sandbox {
        Sandbox {
            bubblewrap: find_program("bwrap").unwrap_or_else(|| "bwrap".into()),
            runner,
            toolchains: Vec::new(),
            path: Vec::new(),
            environment: Vec::new(),
            nested_forbidden: false,
        }
    }

    /// A sandbox whose runner is this program, `esker`, also after its file was replaced by another version.
    pub fn of_this_program() -> Sandbox {
        let program = std::env::current_exe().ok().filter(|path| path.exists());
        let program = program.unwrap_or_else(|| "/proc/self/exe".into());
        Sandbox::new(vec![program.into(), runner::NAME.into()])
    }

    /// Whether commands can be confined here; says what to install or allow if not. Call it before anything else.
    pub fn check(&mut self) -> Result<()> {
        // A bare name would be looked for in the system's folders, whatever the `PATH` says.
        let help = match self.bubblewrap.is_absolute() {
            true => Command::new(&self.bubblewrap).arg("--help").env_clear().stdin(Stdio::null()).output(),
            false => Err(std::io::ErrorKind::NotFound.into()),
        };
        let help = help.map_err(|error| {
            let line = format!(
                "commands cannot be confined: {} cannot be run; install bubblewrap (Debian: apt-get install bubblewrap)",
                self.bubblewrap.display()
            );
            Error::new(Kind::Unavailable, line).because(error)
        })?;
        let help = [help.stdout, help.stderr].concat();
        self.nested_forbidden = String::from_utf8_lossy(&help).contains("--disable-userns");
        let folder = std::env::temp_dir();
        let own = Own::default();
        let mut trial = Command::new(&self.bubblewrap);
        trial.args(self.arguments(&[], &own)).args(["--", SHELL, "-c", "exit 42"]).env_clear().current_dir(folder);
        let done = trial.stdin(Stdio::null()).output();
        let done = done.map_err(|error| machine_failed(format!("cannot run {}", self.bubblewrap.display()), error))?;
        if done.status.code() == Some(42) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        let line = format!(
            "commands cannot be confined: bubblewrap does not work here ({said}); it needs bash in /bin and user namespaces: \
             see /proc/sys/user/max_user_namespaces, kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns; in a container, allow unshare and mount"
        );
        Err(Error::new(Kind::Unavailable, line))
    }

    /// The arguments of `bwrap` up to the command.
    fn arguments(&self, binds: &[Bind], own: &Own) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.add(["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]);
        list.add(["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
        if self.nested_forbidden {
            list.add(["--disable-userns"]);
        }
        list.add(["--hostname", "sandbox", "--clearenv"]);
        for (name, value) in self.variables() {
            list.add([OsStr::new("--setenv"), OsStr::new(&name), &value]);
        }
        let size = TMP_BYTES_MAX.to_string();
        list.add(["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr"]);
        add_proc(&mut list);
        for (source, name) in &own.devices {
            list.add([OsStr::new("--dev-bind"), source.as_os_str(), OsStr::new(&format!("/dev/{name}"))]);
        }
        list.add(["--size", &size, "--tmpfs", "/tmp", "--size", &size, "--tmpfs", "/run", "--dir", HOME]);
        list.add(["--size", &size, "--tmpfs", "/var/tmp", "--size", &size, "--tmpfs", "/dev/shm", "--dir", "/etc"]);
        add_top(&mut list);
        add_etc(&mut list, own);
        for folder in self.toolchains.iter().filter(|folder| folder.exists()) {
            list.add([OsStr::new("--ro-bind"), folder.as_os_str(), folder.as_os_str()]);
        }
        for bind in binds {
            let kind = if bind.writable { "--bind" } else { "--ro-bind" };
            list.add([OsStr::new(kind), bind.source.as_os_str(), bind.target.as_os_str()]);
        }
        list.add(["--remount-ro", "/", "--chdir", "/"]);
        list.0
    }

    fn variables(&self) -> Vec<(String, OsString)> {
        let mut path = OsString::new();
        for folder in &self.path {
            path.push(folder);
            path.push(":");
        }
        path.push(PATH);
        let mut variables = vec![
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), HOME.into()),
            ("LANG".to_owned(), "C.UTF-8".into()),
            ("TERM".to_owned(), "dumb".into()),
        ];
        variables.extend(self.environment.iter().map(|(name, value)| (name.clone(), value.into())));
        variables
    }
}

/// Command line arguments that grow.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<S: AsRef<OsStr>>(&mut self, more: impl IntoIterator<Item = S>) {
        self.0.extend(more.into_iter().map(|one| one.as_ref().to_owned()));
    }
}

/// `/bin` and its like: links as this machine has them, or the folders themselves.
fn add_top(list: &mut Arguments) {
    for name in TOP {
        let path = Path::new("/").join(name);
        match fs::read_link(&path) {
            Ok(target) => list.add([OsStr::new("--symlink"), target.as_os_str(), path.as_os_str()]),
            Err(_) if path.is_dir() => list.add([OsStr::new("--ro-bind"), path.as_os_str(), path.as_os_str()]),
            Err(_) => {}
        }
    }
}

fn add_proc(list: &mut Arguments) {
    for path in PROC_READ_ONLY.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()) {
        list.add([OsStr::new("--ro-bind"), path.as_os_str(), path.as_os_str()]);
    }
    for path in PROC_HIDDEN.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()) {
        list.add([OsStr::new("--ro-bind"), OsStr::new("/dev/null"), path.as_os_str()]);
    }
}

fn add_etc(list: &mut Arguments, own: &Own) {
    let mut names: Vec<String> = ETC.iter().map(|name| (*name).to_owned()).collect();
    let all = fs::read_dir("/etc").into_iter().flatten().flatten();
    let more = all.filter_map(|entry| entry.file_name().into_string().ok());
    names.extend(more.filter(|name| ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))));
    for name in names {
        let path = Path::new("/etc").join(name);
        match fs::read_link(&path) {
            // Links lead into /usr; what they lead to is there or is not.
            Ok(target) => list.add([OsStr::new("--symlink"), target.as_os_str(), path.as_os_str()]),
            Err(_) if path.exists() => list.add([OsStr::new("--ro-bind"), path.as_os_str(), path.as_os_str()]),
            Err(_) => {}
        }
    }
    for (source, target) in [(&own.users, "/etc/passwd"), (&own.groups, "/etc/group")] {
        if let Some(source) = source {
            list.add([OsStr::new("--ro-bind"), source.as_os_str(), OsStr::new(target)]);
        }
    }
}

/// What is made for one command: files that stand for `/etc/passwd` and `/etc/group` (the user that runs the command, and
/// nobody), and devices, where this process may make them.
#[derive(Debug, Default)]
struct Own {
    users: Option<PathBuf>,
    groups: Option<PathBuf>,
    devices: Vec<(PathBuf, &'static str)>,
}

impl Own {
    /// Makes them in a folder.
    fn make(folder: &Path) -> Result<Own> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let name = if uid == 0 { "root" } else { "agent" };
        let group = if gid == 0 { "root" } else { "agent" };
        let users =
            format!("{name}:x:{uid}:{gid}::{HOME}:{SHELL}\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n");
        let groups = format!("{group}:x:{gid}:\nnogroup:x:65534:\n");
        let put = |file: &str, text: String| {
            let path = folder.join(file);
            let failed = |error| machine_failed(format!("cannot write {}", path.display()), error);
            fs::write(&path, text).map_err(failed)?;
            Ok::<_, Error>(Some(path))
        };
        let devices = if uid == 0 { make_devices(folder) } else { Vec::new() };
        Ok(Own { users: put("passwd", users)?, groups: put("group", groups)?, devices })
    }
}

/// Device nodes of the command's own; none where the folder's filesystem does not let them be used.
fn make_devices(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let mut made = Vec::new();
    for (name, major, minor) in DEVICES {
        let path = folder.join(format!("device-{name}"));
        let mode = Mode::from_raw_mode(0o666);
        let done = mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(*major, *minor));
        let done = done.and_then(|()| rustix::fs::chmod(&path, mode));
        // A terminal can be opened by those only who have one.
        if done.is_err() || (*name != "tty" && fs::OpenOptions::new().write(true).open(&path).is_err()) {
            return Vec::new();
        }
        made.push((path, *name));
    }
    made
}

/// A program of the `PATH`.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
pub(crate) mod tests;
