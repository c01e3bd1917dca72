//! Servers that nobody here wrote: SeaweedFS and moto for S3, Azurite for Azure, PostgreSQL. From `scripts/setup`.
//!
//! One of each kind for all tests of a process that run at the time: whoever needs it first starts it, the last guard ends it by
//! its pid and removes its folder. All listen on loopback only, on ports that were free a moment before.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{has_program, missing, npm_file};

/// How long a server may take to start; SeaweedFS takes four seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Above this, a port and its twin (the same and 10,000, where SeaweedFS puts gRPC) leave the range of addresses.
const PORTS: std::ops::Range<u16> = 12_000..22_000;

/// The access key that SeaweedFS lets in; moto lets in everybody.
pub(crate) const ACCESS_KEY: &str = "esker-test";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "esker-test-secret";

/// A running server and its folder.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens, as `127.0.0.1:PORT`.
    pub(crate) address: String,
    child: Child,
    /// Removed after the process has ended.
    _folder: TempDir,
}

impl Server {
    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn start(port: u16, folder: TempDir, mut command: Command, ready: impl Fn(&str) -> bool) -> Arc<Server> {
        let log_path = folder.path().join("server.log");
        let log = fs::File::create(&log_path).expect("a log file");
        let what = format!("{:?}", command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let mut server = Server { address: format!("127.0.0.1:{port}"), child, _folder: folder };
        let start = Instant::now();
        while !ready(&server.address) {
            let ended = server.child.try_wait().expect("a child can be waited for");
            if ended.is_some() || start.elapsed() > PATIENCE {
                panic!("{what} did not start ({ended:?}):\n{}", tail(&log_path));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Arc::new(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gently first: PostgreSQL has processes of its own to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The running server of one kind, if somebody holds it.
type Shared = Mutex<Weak<Server>>;

fn share(slot: &Shared, start: impl FnOnce() -> Option<Arc<Server>>) -> Option<Arc<Server>> {
    let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = slot.upgrade() {
        return Some(server);
    }
    let server = start()?;
    *slot = Arc::downgrade(&server);
    Some(server)
}

/// `count` ports that were free just now, with their twins.
fn free_ports(count: usize) -> Vec<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Tests that run beside each other are processes of their own: each looks in a region of its own first.
    let first = PORTS.start + (std::process::id() % 600) as u16 * 16;
    let wrapped = (first..PORTS.end).chain(PORTS.start..first);
    let found: Vec<u16> = wrapped.filter(|&port| free(port) && free(port + 10_000)).take(count).collect();
    assert_eq!(found.len(), count, "there are no free ports");
    found
}

fn server_folder() -> TempDir {
    tempfile::Builder::new().prefix("esks-").tempdir().expect("a folder for the server")
}

/// A program of `tests/python/requirements.txt`.
fn python_program(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".esker-tools/venv/bin").join(name);
    if !path.is_file() {
        missing(&format!("{} is not there: run scripts/setup", path.display()));
        return None;
    }
    Some(path)
}

/// The status of a `GET`, or nothing while nobody listens.
fn status(address: &str, path: &str) -> Option<u16> {
    use std::io::{Read, Write};
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut head = [0; 12];
    connection.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// S3 as SeaweedFS does it, with signatures checked. `None` if it is not installed and skipping is allowed.
pub(crate) fn seaweedfs() -> Option<Arc<Server>> {
    static SLOT: Shared = Mutex::new(Weak::new());
    share(&SLOT, || {
        let weed = python_program("weed")?;
        let folder = server_folder();
        let identities = folder.path().join("identities.json");
        let text = serde_json::json!({"identities": [{
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        fs::write(&identities, text.to_string()).expect("the identities can be written");
        fs::create_dir(folder.path().join("data")).expect("a folder for its data");
        let ports = free_ports(4);
        let mut command = Command::new(weed);
        command
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .args(["server", "-s3", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"])
            .args(["-volume.max=100", "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", identities.display()));
        for (name, port) in ["master", "volume", "filer", "s3"].iter().zip(&ports) {
            command.arg(format!("-{name}.port={port}"));
        }
        // Without a signature it says 403, but only once it has read who may come in and found its filer.
        Some(Server::start(ports[3], folder, command, |address| status(address, "/") == Some(403)))
    })
}

/// S3 as moto does it, without signatures. `None` if it is not installed and skipping is allowed.
pub(crate) fn moto() -> Option<Arc<Server>> {
    static SLOT: Shared = Mutex::new(Weak::new());
    share(&SLOT, || {
        let program = python_program("moto_server")?;
        let port = free_ports(1)[0];
        let folder = server_folder();
        let mut command = Command::new(program);
        command.current_dir(folder.path()).env("HOME", folder.path()).args(["-H", "127.0.0.1", "-p"]);
        command.arg(port.to_string());
        Some(Server::start(port, folder, command, |address| status(address, "/moto-api/") == Some(200)))
    })
}

/// Azure's blob storage as Azurite does it. `None` if it is not installed and skipping is allowed.
pub(crate) fn azurite() -> Option<Arc<Server>> {
    static SLOT: Shared = Mutex::new(Weak::new());
    share(&SLOT, || {
        let program = npm_file("azurite/dist/src/blob/main.js")?;
        let port = free_ports(1)[0];
        let folder = server_folder();
        let mut command = Command::new("node");
        command.arg(program).current_dir(folder.path()).env("HOME", folder.path());
        command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        Some(Server::start(port, folder, command, |address| TcpStream::connect(address).is_ok()))
    })
}

/// Debian keeps the server's programs out of the path.
fn postgresql_program(name: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.is_file())
        .collect();
    versions.sort();
    let path = versions.pop().or_else(|| has_program(name).then(|| PathBuf::from(name)));
    if path.is_none() {
        missing(&format!("PostgreSQL's {name} is not installed: run scripts/setup"));
    }
    path
}

/// Who PostgreSQL runs as: it refuses root.
const POSTGRES_USER: &str = "nobody";

/// PostgreSQL with an empty cluster of its own, user `esker` without a password, durable as it is by default.
/// `None` if it is not installed and skipping is allowed.
pub(crate) fn postgresql() -> Option<Arc<Server>> {
    static SLOT: Shared = Mutex::new(Weak::new());
    share(&SLOT, || {
        let (initdb, postgres) = (postgresql_program("initdb")?, postgresql_program("postgres")?);
        let folder = server_folder();
        let data = folder.path().join("data");
        let root = rustix::process::getuid().is_root();
        let as_user = |program: &Path| match root {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", POSTGRES_USER, "--regid", "nogroup", "--clear-groups"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        fs::create_dir(&data).expect("a folder for its data");
        if root {
            let chown =
                Command::new("chown").args(["-R", &format!("{POSTGRES_USER}:nogroup")]).arg(folder.path()).status();
            assert!(chown.is_ok_and(|status| status.success()), "the folder can be given to {POSTGRES_USER}");
        }
        let made = as_user(&initdb)
            .current_dir(folder.path())
            .args(["--username=esker", "--auth=trust", "--encoding=UTF8", "--no-locale", "-D"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_ports(1)[0];
        let mut command = as_user(&postgres);
        command.current_dir(folder.path()).arg("-D").arg(&data).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-k",
        ]);
        command.arg(folder.path());
        let psql = postgresql_program("psql")?;
        let answers = move |address: &str| {
            let port = address.rsplit(':').next().expect("a port");
            let mut command = Command::new(&psql);
            command.args(["-h", "127.0.0.1", "-U", "esker", "-d", "postgres", "-p", port, "-c", "select 1"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        Some(Server::start(port, folder, command, answers))
    })
}

/// Makes an empty database and returns its URL.
pub(crate) fn fresh_database(server: &Server) -> String {
    let psql = postgresql_program("psql").expect("found when the server started");
    let name = fresh_name();
    let port = server.address.rsplit(':').next().expect("a port");
    let made = Command::new(psql)
        .args(["-h", "127.0.0.1", "-U", "esker", "-d", "postgres", "-p", port, "-c"])
        .arg(format!("create database {}", name.replace('-', "_")))
        .output()
        .expect("psql starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    format!("postgres://esker@127.0.0.1:{port}/{}", name.replace('-', "_"))
}

/// A name that no other test has: the process and a count.
pub(crate) fn fresh_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What boto3 does in a bucket of an S3 server; prints one line for each answer.
fn boto3(server: &Server, program: &str, arguments: &[&str]) -> String {
    let client = format!(
        "import sys, boto3\ns3 = boto3.client('s3', endpoint_url='{}', aws_access_key_id='{ACCESS_KEY}', \
         aws_secret_access_key='{SECRET_KEY}', region_name='us-east-1')\n{program}",
        server.url()
    );
    let python = python_program("python3").expect("it runs the server");
    let done = Command::new(python).arg("-c").arg(client).args(arguments).output().expect("python starts");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("readable output")
}

/// Makes an empty bucket on an S3 server and returns its name.
pub(crate) fn fresh_bucket(server: &Server) -> String {
    let name = fresh_name();
    boto3(server, "s3.create_bucket(Bucket=sys.argv[1])", &[&name]);
    name
}

/// The names of all objects of an S3 bucket, as another client than ours sees them.
pub(crate) fn objects(server: &Server, bucket: &str) -> Vec<String> {
    let program = "for page in s3.get_paginator('list_objects_v2').paginate(Bucket=sys.argv[1]):\n\
                   \x20   for found in page.get('Contents', []): print(found['Key'])";
    boto3(server, program, &[bucket]).lines().map(str::to_owned).collect()
}

/// Makes an empty container in Azurite and returns its name; signed with the emulator's key, which everybody knows.
pub(crate) fn fresh_container(server: &Server) -> String {
    let name = fresh_name();
    let script = include_str!("container.js");
    let done = Command::new("node").args(["-e", script, &server.address, &name]).output().expect("node starts");
    assert!(done.status.success(), "the container is made: {}", String::from_utf8_lossy(&done.stderr));
    name
}
