//! A private PostgreSQL cluster for the tests of one process, and a fresh database in it for each test.
//!
//! It listens on a Unix socket in a folder of its own. A small shell stands between: when the test process ends, however
//! it ends, the shell's input closes, and it stops the server that it started and removes the folder.
//!
//! It needs nothing of this crate: the tests of whole programs include this file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where Debian puts the programs, by version.
const PROGRAMS: &str = "/usr/lib/postgresql";
const USER: &str = "esker";
/// A cluster starts within a second here.
const START: Duration = Duration::from_secs(60);
/// Runs the server until the standard input ends, also when a signal for the whole group comes by. Durability is nothing
/// that its tests look at.
const SHELL: &str = r#"
trap : TERM INT HUP
"$@" -D "$0/data" -k "$0" -c listen_addresses= -c max_connections=300 -c shared_buffers=32MB -c fsync=off \
    -c full_page_writes=off </dev/null >"$0/log" 2>&1 &
server=$!
read -r _
kill -INT $server
while kill -0 $server 2>/dev/null; do wait $server; done
rm -rf "$0"
"#;

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    databases: AtomicU32,
    /// Its input is open as long as this process lives.
    _shell: Child,
}

/// The cluster of this process; `None` where PostgreSQL is missing and `ESKER_TEST_REQUIRE` is not set.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| match programs() {
            Some(programs) => Some(Cluster::start(&programs)),
            None if std::env::var_os("ESKER_TEST_REQUIRE").is_some() => panic!("PostgreSQL is not installed"),
            None => {
                eprintln!("skipped: PostgreSQL is not installed in {PROGRAMS}");
                None
            }
        })
        .as_ref()
}

/// The URL of a fresh database in this process's cluster.
pub fn database() -> Option<String> {
    cluster().map(Cluster::database)
}

/// The newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(PROGRAMS).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let version = |path: &PathBuf| -> Option<u32> { path.parent()?.file_name()?.to_str()?.parse().ok() };
    versions.filter(|path| path.join("postgres").exists()).max_by_key(version)
}

impl Cluster {
    fn start(programs: &Path) -> Cluster {
        // Short: a socket's path has at most 107 bytes.
        let folder = PathBuf::from(format!("/tmp/esker-pg-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("because the name is this process's own");
        let prefix = become_somebody(&folder);
        let data = folder.join("data");
        let made = command(&prefix, &programs.join("initdb"))
            // A language's order, which is not that of the bytes: what needs the latter has to say so.
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--encoding=UTF8"])
            .args(["--no-sync", "--auth=trust", "-U", USER, "-D"])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .expect("because initdb is installed");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let shell = command(&prefix, Path::new("/bin/sh"))
            .args(["-c", SHELL])
            .arg(&folder)
            .arg(programs.join("postgres"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("because there is a shell");
        let programs = programs.to_owned();
        let cluster = Cluster { programs, folder, databases: AtomicU32::new(0), _shell: shell };
        cluster.wait_until_it_answers();
        cluster
    }

    fn wait_until_it_answers(&self) {
        let until = Instant::now() + START;
        // The server writes this once it accepts connections.
        let ready = || {
            let said = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            said.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        while !ready() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "PostgreSQL did not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The URL of a fresh database.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}/{database}")
    }

    /// Runs statements on a connection of its own, as the superuser.
    pub fn execute(&self, database: &str, sql: &str) {
        let done = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-c", sql, "-h"])
            .arg(&self.folder)
            .env_remove("PGOPTIONS")
            .output()
            .expect("because psql is installed with the server");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// The server refuses to run as root: the folder becomes somebody else's, and what starts there does too.
fn become_somebody(folder: &Path) -> Vec<String> {
    if !rustix::process::getuid().is_root() {
        return Vec::new();
    }
    let number = |user: &str, what: &str| -> Option<u32> {
        let output = Command::new("id").args([what, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let somebody = ["postgres", "nobody"].into_iter().find_map(|user| Some((number(user, "-u")?, number(user, "-g")?)));
    let (user, group) = somebody.expect("because every system has nobody");
    std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("because root may");
    vec!["setpriv".into(), format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]
}

fn command(prefix: &[String], program: &Path) -> Command {
    let Some((first, rest)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}
