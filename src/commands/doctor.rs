//! `esker doctor`: what this machine has, and what is missing for what. Looks only, changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vfs_core::Kind;

use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;
use crate::key;
use crate::print::{self, Colour, Printer};

/// Fewer open files than this, and a busy engine runs out.
const OPEN_FILES_WANTED: u64 = 4096;
/// Less free space than this at the data folder is worth a remark.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// CAP_SYS_ADMIN, the right to call mount(2).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Limited,
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    needed_for: &'static str,
}

/// Everything, and whether a mount can work here.
#[derive(Debug, Serialize)]
struct Report {
    mount_possible: bool,
    findings: Vec<Finding>,
}

/// Looks and prints. Fails if nothing can be mounted here.
pub(crate) fn run(printer: Printer, data: &DataFolder) -> Outcome {
    let privileged = capabilities() & CAP_SYS_ADMIN != 0;
    let findings = vec![
        fuse(),
        fusermount(privileged),
        allow_other(privileged),
        cgroup(),
        bubblewrap(),
        postgresql(),
        open_files(),
        disk(data),
        encryption(data),
        kernel(),
    ];
    let helper = findings[1].state != State::Missing;
    let report = Report { mount_possible: findings[0].state == State::Ok && helper, findings };
    printer.result(&report, || text(printer, &report))?;
    if report.mount_possible {
        return Ok(());
    }
    Err(Failure::new(Kind::Unavailable, "nothing can be mounted here; import, export and the API work without FUSE"))
}

fn text(printer: Printer, report: &Report) -> String {
    // Colours would count as width, so the first word of each finished line is coloured.
    let word = |state| match state {
        State::Ok => ("ok", Colour::Green),
        State::Limited => ("limited", Colour::Yellow),
        State::Missing => ("missing", Colour::Red),
    };
    let rows: Vec<Vec<String>> = report
        .findings
        .iter()
        .map(|finding| {
            let needed = format!("[{}]", finding.needed_for);
            vec![word(finding.state).0.to_owned(), finding.name.to_owned(), finding.found.clone(), needed]
        })
        .collect();
    let table = print::table(&rows);
    let lines = table.lines().zip(&report.findings).map(|(line, finding)| {
        let (name, colour) = word(finding.state);
        line.replacen(name, &printer.colour(colour, name), 1)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn finding(name: &'static str, needed_for: &'static str, state: State, found: impl Into<String>) -> Finding {
    Finding { name, state, found: found.into(), needed_for }
}

fn fuse() -> Finding {
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let (state, found) = match opened {
        Ok(_) => (State::Ok, "/dev/fuse opens".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (
            State::Missing,
            "no /dev/fuse: load the module (modprobe fuse), or give the container --device /dev/fuse".into(),
        ),
        Err(error) => (State::Missing, format!("/dev/fuse does not open: {error}")),
    };
    finding("FUSE", "mount, up", state, found)
}

fn fusermount(privileged: bool) -> Finding {
    let (state, found) = match find_program("fusermount3") {
        Some(path) if privileged => (State::Ok, format!("{} (not needed: we may mount ourselves)", path.display())),
        Some(path) if is_setuid_root(&path) => (State::Ok, path.display().to_string()),
        Some(path) => (State::Missing, format!("{} is not setuid root, so it cannot mount for users", path.display())),
        None if privileged => (State::Ok, "not there, and not needed: we may mount ourselves".to_owned()),
        None => (State::Missing, "not in PATH: install the package fuse3".to_owned()),
    };
    finding("fusermount3", "mount without root", state, found)
}

fn allow_other(privileged: bool) -> Finding {
    let allowed = fs::read_to_string("/etc/fuse.conf").is_ok_and(|text| allows_other(&text));
    let (state, found) = match (allowed, privileged) {
        (true, _) => (State::Ok, "/etc/fuse.conf says user_allow_other"),
        (false, true) => (State::Ok, "not in /etc/fuse.conf, and not needed: we may mount ourselves"),
        (false, false) => (State::Limited, "only you will see your mounts: add user_allow_other to /etc/fuse.conf"),
    };
    finding("allow_other", "mount --allow-other without root", state, found)
}

/// Whether a fuse.conf has the line `user_allow_other`.
fn allows_other(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "user_allow_other")
}

fn cgroup() -> Finding {
    let root = Path::new("/sys/fs/cgroup");
    let name = "cgroup v2 freezer";
    let needed = "suspending local sandboxes";
    if !root.join("cgroup.controllers").exists() {
        return finding(name, needed, State::Missing, "/sys/fs/cgroup is not cgroup v2");
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok();
    let own = own.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/")));
    let folder = own.map_or(root.to_owned(), |path| root.join(path.trim_end()));
    let (state, found) = match rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) if root.join("cgroup.freeze").exists() || has_freezer(root) => {
            (State::Ok, format!("groups can be made in {}", folder.display()))
        }
        Ok(()) => (State::Missing, "no cgroup.freeze: the kernel is older than 5.2".to_owned()),
        Err(_) => (State::Limited, format!("{} is not writable: delegate a cgroup to this user", folder.display())),
    };
    finding(name, needed, state, found)
}

/// The root group itself has no cgroup.freeze; any group below it does.
fn has_freezer(root: &Path) -> bool {
    let Ok(entries) = fs::read_dir(root) else { return false };
    let mut groups = entries.filter_map(|entry| entry.ok()).filter(|entry| entry.path().is_dir()).peekable();
    groups.peek().is_none() || groups.any(|entry| entry.path().join("cgroup.freeze").exists())
}

fn bubblewrap() -> Finding {
    let name = "bubblewrap";
    let needed = "local sandboxes";
    let Some(path) = find_program("bwrap") else {
        return finding(name, needed, State::Missing, "bwrap is not in PATH: install the package bubblewrap");
    };
    let tried = std::process::Command::new(&path)
        .args(["--ro-bind", "/", "/", "--unshare-pid", "true"])
        .stdin(std::process::Stdio::null())
        .output();
    let (state, found) = match tried {
        Ok(output) if output.status.success() => (State::Ok, format!("{} runs", path.display())),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it said nothing").to_owned();
            (State::Limited, format!("{} does not run here: {said}", path.display()))
        }
        Err(error) => (State::Limited, format!("{} does not start: {error}", path.display())),
    };
    finding(name, needed, state, found)
}

fn postgresql() -> Finding {
    let server = find_program("postgres").or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin/postgres"))).find(|path| path.exists())
    });
    let (state, found) = match (server, find_program("psql")) {
        (Some(path), _) => (State::Ok, path.display().to_string()),
        (None, Some(path)) => (State::Ok, format!("a client, {}; no server on this machine", path.display())),
        (None, None) => (State::Missing, "neither server nor psql found; one machine alone needs none".to_owned()),
    };
    finding("PostgreSQL", "repos of teams", state, found)
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let (state, found) = match limit.current {
        Some(current) if current < OPEN_FILES_WANTED => {
            (State::Limited, format!("{}: raise it with ulimit -n {OPEN_FILES_WANTED}", print::count(current)))
        }
        Some(current) => (State::Ok, print::count(current)),
        None => (State::Ok, "no limit".to_owned()),
    };
    finding("open files", "busy engines and mounts", state, found)
}

fn disk(data: &DataFolder) -> Finding {
    let existing = data.path().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let (state, found) = match rustix::fs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let state = if free < FREE_BYTES_WANTED { State::Limited } else { State::Ok };
            (state, format!("{} free for {}", print::size(free), data.path().display()))
        }
        Err(error) => (State::Missing, format!("cannot look at {}: {error}", existing.display())),
    };
    finding("disk", "the data folder", state, found)
}

fn encryption(data: &DataFolder) -> Finding {
    let (name, needed) = ("encryption", "the bucket");
    let source = match key::source(data) {
        Ok(source) => source,
        Err(failure) => return finding(name, needed, State::Missing, failure.line()),
    };
    let known = matches!(key::remembered(data), Ok(Some(_)));
    let Some(source) = source else {
        return finding(name, needed, State::Ok, "off; a new data folder is encrypted with --key-file");
    };
    let from = match &source {
        key::Source::File(path) => format!("the key in {}", path.display()),
        key::Source::Environment => "the key in ESKER_KEY".to_owned(),
    };
    match key::load(&source) {
        Ok(Some(_)) if known => finding(name, needed, State::Ok, format!("on, with {from}")),
        Ok(Some(_)) => finding(name, needed, State::Ok, format!("not on yet: the repo is made with {from}")),
        Ok(None) => finding(name, needed, State::Missing, format!("on, but {from} is not there")),
        Err(failure) => finding(name, needed, State::Missing, failure.line()),
    }
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    // 5.14 is where FUSE understands HANDLE_KILLPRIV_V2 and all else that a mount asks for.
    let state = if at_least(&release, (5, 14)) { State::Ok } else { State::Limited };
    finding("kernel", "mount, up (5.14 or newer)", state, release)
}

fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

fn capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| {
        fs::metadata(candidate).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn is_setuid_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|found| found.uid() == 0 && found.mode() & 0o4000 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuse_conf_is_read_like_fusermount_does() {
        assert!(!allows_other("#user_allow_other\n# user_allow_other option\nmount_max = 3\n"));
        assert!(allows_other("# x\n user_allow_other \n"));
    }

    #[test]
    fn kernels_compare_by_number() {
        assert!(at_least("6.1.0-13-amd64", (5, 14)));
        assert!(at_least("5.14", (5, 14)));
        assert!(!at_least("5.4.0-200-generic", (5, 14)));
        assert!(!at_least("", (5, 14)));
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-at-all").is_none());
    }
}
