//! Commands in a real sandbox: what they see, what they cannot do, and what is left when somebody dies.
//!
//! The runner's process is this test program, started again with the name of one test (see [`runner_process`]).

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// This program as the runner: the test that is the runner's process gets the call's folder as its last argument.
pub(crate) fn this_program() -> Vec<OsString> {
    let program = std::env::current_exe().expect("a program");
    let arguments = ["sandbox::tests::runner_process", "--exact", "--test-threads=1", "--nocapture"];
    std::iter::once(program.into_os_string()).chain(arguments.map(OsString::from)).collect()
}

/// Not a test: the runner's process, if somebody started this program as one.
#[test]
fn runner_process() {
    let last = std::env::args().next_back().unwrap_or_default();
    if last.starts_with("/") {
        runner::main(Path::new(&last)).expect("the runner does its work");
        // The test program has nothing more to say, and its threads would only take time.
        std::process::exit(0);
    }
}

/// A sandbox that works, or nothing where that is allowed.
pub(crate) fn sandbox() -> Option<Sandbox> {
    let mut sandbox = Sandbox::new(this_program());
    match sandbox.check() {
        Ok(()) => Some(sandbox),
        Err(error) if std::env::var_os("ESKER_TEST_REQUIRE").is_none() => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("bubblewrap is required: {error}"),
    }
}

/// A folder on this machine with a workspace, and a place for calls.
struct Place {
    sandbox: Sandbox,
    folder: TempDir,
}

impl Place {
    fn new() -> Option<Place> {
        let place = Place { sandbox: sandbox()?, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.folder.path().join("workspace")).unwrap();
        Some(place)
    }

    fn binds(&self) -> Vec<Bind> {
        vec![Bind { source: self.folder.path().join("workspace"), target: "/workspace".into(), writable: true }]
    }

    fn calls(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    async fn run_for(&self, text: &str, timeout: Duration) -> (End, String) {
        let command = SandboxCommand::of_call(&self.calls(), text);
        let binds = self.binds();
        let wanted = Wanted { text, current: "/workspace", fallback: "/workspace", timeout, binds: &binds };
        let fate = command.run(&self.sandbox, &wanted).await.unwrap();
        let Fate::Ended(end) = fate else { panic!("{text}: {fate:?}") };
        let output = command.output().unwrap();
        (end, String::from_utf8_lossy(&output).into_owned())
    }

    async fn run(&self, text: &str) -> (End, String) {
        self.run_for(text, Duration::from_secs(60)).await
    }

    async fn says(&self, text: &str) -> String {
        let (end, output) = self.run(text).await;
        assert_eq!((end.reason, end.code), (Reason::Exited, 0), "{text}: {output}");
        output
    }
}

#[tokio::test]
async fn a_command_says_what_it_does() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.says("echo out; echo err >&2; echo out").await, "out\nerr\nout\n");
    assert_eq!(place.says("cat").await, "");
    assert_eq!(place.says("echo \"$#$1$-\"; id -un; cd; pwd").await, format!("0hBc\n{}\n/tmp/home\n", user()));
    let (end, output) = place.run("nosuchcmd\n").await;
    assert_eq!((end.code, output.as_str()), (127, "/bin/bash: line 1: nosuchcmd: command not found\n"));
    let (end, output) = place.run("echo a; cat <<'X'\n$b 'c'\nX\nexit 3").await;
    assert_eq!((end.code, output.as_str(), end.current), (3, "a\n$b 'c'\n", None));
    assert_eq!(place.run("kill -9 $$").await.0.code, 137);
    assert_eq!(place.run("if").await.0.code, 2);
}

fn user() -> &'static str {
    if rustix::process::getuid().is_root() { "root" } else { "agent" }
}

#[tokio::test]
async fn the_current_directory_is_told_after_success_only() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run("mkdir -p a/b && cd a/b").await.0.current.as_deref(), Some("/workspace/a/b"));
    assert_eq!(place.run("cd /tmp").await.0.current.as_deref(), Some("/tmp"));
    assert_eq!(place.run("cd a; false").await.0.current, None);
    assert_eq!(place.run("cd a; exit 0").await.0.current, None);
}

#[tokio::test]
async fn files_of_the_workspace_last_and_others_do_not() {
    let Some(place) = Place::new() else { return };
    place.says("echo x > file; chmod 755 file; echo y > /tmp/gone; echo z > ~/gone").await;
    assert_eq!(std::fs::read_to_string(place.folder.path().join("workspace/file")).unwrap(), "x\n");
    assert_eq!(place.says("ls /tmp ~").await.split_whitespace().collect::<Vec<_>>(), ["/tmp:", "home", "/tmp/home:"]);
    for path in ["/x", "/etc/x", "/usr/x", "/bin/x", "/dev/sda"] {
        let (end, output) = place.run(&format!("[ ! -e {path} ] && echo x > {path}")).await;
        assert!(end.code != 0 || path.starts_with("/dev"), "{path} took a write: {output}");
    }
}

#[tokio::test]
async fn no_file_of_the_machine_is_seen() {
    let Some(place) = Place::new() else { return };
    let secret = place.folder.path().join("engine.sock");
    std::fs::write(&secret, "secret").unwrap();
    let hidden =
        ["/root", "/home", "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/var/lib", "/sys", "/mnt", "/opt", "/work"];
    for path in hidden.into_iter().chain([secret.to_str().unwrap(), place.calls().to_str().unwrap()]) {
        let (end, output) = place.run(&format!("ls -la {path}")).await;
        assert_ne!(end.code, 0, "{path} is seen: {output}");
    }
    let listed = place.says("ls /").await;
    let allowed = [
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "run",
        "sbin",
        "tmp",
        "usr",
        "var",
        "workspace",
    ];
    assert!(listed.split_whitespace().all(|name| allowed.contains(&name)), "{listed}");
    assert_eq!(place.says("ls /dev | grep -E 'sd|vd|nvme|fuse|kvm|mem|loop' || true").await, "");
    let accounts = place.says("cat /etc/passwd /etc/group").await;
    assert_eq!(accounts.lines().count(), 4, "{accounts}");
}

#[tokio::test]
async fn there_is_no_network_not_even_to_this_machine() {
    let Some(place) = Place::new() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (end, output) = place.run(&format!("echo > /dev/tcp/127.0.0.1/{port}")).await;
    assert!(end.code != 0 && output.contains("onnection refused"), "{output}");
    assert_eq!(place.says("grep -v '^ *lo:' /proc/net/dev | tail -n +3").await, "");
    // Abstract sockets belong to the network namespace too.
    assert_eq!(place.says("tail -n +2 /proc/net/unix").await, "");
}

#[tokio::test]
async fn no_variable_of_ours_is_seen() {
    let Some(place) = Place::new() else { return };
    let variables = place.says("env | cut -d= -f1 | sort | tr '\\n' ' '").await;
    assert_eq!(variables.trim(), "HOME LANG OLDPWD PATH PWD SHLVL TERM _");
}

#[tokio::test]
async fn other_processes_are_neither_seen_nor_reached() {
    let Some(place) = Place::new() else { return };
    let mut other = Command::new("sleep").arg("4711").spawn().unwrap();
    let pid = other.id();
    let output =
        place.says("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; ls -d /proc/[0-9]* | wc -l").await;
    assert!(!output.contains("4711") && !output.contains("cargo") && !output.contains("runner_process"), "{output}");
    assert!(output.lines().next_back().unwrap().trim().parse::<u32>().unwrap() < 10, "{output}");
    place.run(&format!("kill -9 {pid} -1; true")).await;
    assert!(other.try_wait().unwrap().is_none(), "the sandbox killed a process of the machine");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn settings_and_devices_of_the_machine_are_out_of_reach() {
    let Some(place) = Place::new() else { return };
    let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/mtrr",
    ] {
        let (end, output) = place.run(&format!("cat {path} 2>/dev/null >/tmp/x; cat /tmp/x > {path}")).await;
        assert_ne!(end.code, 0, "{path} took a write: {output}");
    }
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
    assert_eq!(
        place.says("head -c 3 /dev/urandom | wc -c; head -c 3 /dev/zero | wc -c; echo x > /dev/null").await,
        "3\n3\n"
    );
    if rustix::process::getuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        place.run("chmod 600 /dev/full").await;
        let mode = std::fs::metadata("/dev/full").unwrap().permissions().mode();
        std::fs::set_permissions("/dev/full", std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(mode & 0o777, 0o666, "the sandbox changed a device of the machine");
    }
    assert_eq!(place.says("cat /proc/keys /proc/timer_list 2>/dev/null | wc -c").await, "0\n");
}

#[tokio::test]
async fn nobody_is_privileged_inside() {
    let Some(place) = Place::new() else { return };
    let caps = place.says("grep -E '^Cap|NoNewPrivs' /proc/self/status | cut -f2 | sort -u | tr '\\n' ' '").await;
    assert_eq!(caps.trim(), "0000000000000000 1");
    for attempt in ["mount -t tmpfs x /tmp", "unshare -Ur true", "chroot / true", "mknod /tmp/x b 8 0", "hostname evil"]
    {
        assert_ne!(place.run(attempt).await.0.code, 0, "{attempt} works");
    }
}

/// Processes of this machine whose command line holds a text.
fn processes_with(text: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").contains(text)).count()
}

async fn until_gone(text: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while processes_with(text) > 0 {
        assert!(Instant::now() < until, "{text} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn when_the_time_is_over_everything_is_killed() {
    let Some(place) = Place::new() else { return };
    let began = Instant::now();
    let text = "echo early; trap '' TERM INT HUP; (setsid nohup sleep 86461 & ) ; bash -c 'sleep 86461; true'";
    let (end, output) = place.run_for(text, Duration::from_millis(700)).await;
    assert_eq!((end.reason, output.as_str()), (Reason::TimedOut, "early\n"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    until_gone("sleep 86461").await;
}

#[tokio::test]
async fn what_runs_in_the_background_does_not_keep_the_call() {
    let Some(place) = Place::new() else { return };
    let began = Instant::now();
    assert_eq!(place.says("sleep 86462 & (setsid sleep 86462 &) ; echo started").await, "started\n");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    until_gone("sleep 86462").await;
}

#[tokio::test]
async fn a_fork_bomb_ends() {
    let Some(place) = Place::new() else { return };
    let (end, _) = place.run_for("b() { b | b & b; }; b; sleep 86463", Duration::from_secs(60)).await;
    assert!(end.duration_ms < 50_000 && end.code != 0, "{end:?}");
    assert_eq!(place.says("echo still here").await, "still here\n");
}

#[tokio::test]
async fn output_without_end_is_bounded() {
    let Some(place) = Place::new() else { return };
    let (end, output) = place.run("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo END >&2").await;
    assert_eq!((end.code, end.output_bytes), (0, 100_000_005));
    assert_eq!(output.len() as u64, crate::tools::limits::OUTPUT_BYTES_MAX);
    let command = SandboxCommand::of_call(&place.calls(), "yes");
    let binds = place.binds();
    let timeout = Duration::from_millis(500);
    let wanted = Wanted { text: "yes", current: "/workspace", fallback: "/workspace", timeout, binds: &binds };
    let Fate::Ended(end) = command.run(&place.sandbox, &wanted).await.unwrap() else { panic!("no end") };
    assert_eq!(end.reason, Reason::TimedOut);
}

#[tokio::test]
async fn a_sandbox_that_does_not_come_up_is_no_result_of_the_command() {
    let Some(place) = Place::new() else { return };
    let command = SandboxCommand::of_call(&place.calls(), "x");
    let binds = [Bind { source: "/nowhere/at/all".into(), target: "/workspace".into(), writable: true }];
    let timeout = Duration::from_secs(5);
    let wanted = Wanted { text: "true", current: "/workspace", fallback: "/workspace", timeout, binds: &binds };
    let error = command.run(&place.sandbox, &wanted).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn without_bubblewrap_it_says_what_to_install() {
    let mut sandbox = Sandbox { bubblewrap: "/nowhere/bwrap".into(), ..Sandbox::new(this_program()) };
    let error = sandbox.check().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("apt-get install bubblewrap"), "{error}");
    let mut broken = Sandbox { bubblewrap: "/bin/false".into(), ..Sandbox::new(this_program()) };
    assert!(broken.check().unwrap_err().to_string().contains("user namespaces"));
}

/// Not a test: a harness that is killed while its command runs, if somebody started this program as one.
#[tokio::test]
async fn harness_process() {
    let arguments: Vec<String> = std::env::args().collect();
    let [.., folder, text] = arguments.as_slice() else { return };
    if !folder.starts_with('/') || !text.starts_with("echo") {
        return;
    }
    let folder = Path::new(folder);
    let binds = [Bind { source: folder.join("workspace"), target: "/workspace".into(), writable: true }];
    let timeout = Duration::from_secs(20);
    let wanted = Wanted { text, current: "/workspace", fallback: "/workspace", timeout, binds: &binds };
    let command = SandboxCommand::of_call(&folder.join("calls"), "the call");
    command.run(&sandbox().expect("a sandbox"), &wanted).await.unwrap();
}

impl Place {
    /// Starts a harness with a command and kills it once the command has begun.
    async fn killed_harness(&self, text: &str) -> SandboxCommand {
        let mut harness = Command::new(std::env::current_exe().unwrap());
        harness.args(["sandbox::tests::harness_process", "--exact", "--test-threads=1", "--nocapture"]);
        harness.arg(self.folder.path()).arg(text).env("ANTHROPIC_API_KEY", "sk-very-secret").process_group(0);
        let mut harness = harness.stdout(Stdio::null()).spawn().unwrap();
        let output = self.calls().join(&blake3::hash(b"the call").to_hex()[..32]).join("output");
        let until = Instant::now() + Duration::from_secs(20);
        while std::fs::metadata(&output).map_or(0, |found| found.len()) == 0 {
            assert!(Instant::now() < until, "the command does not begin");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        harness.kill().unwrap();
        harness.wait().unwrap();
        SandboxCommand::of_call(&self.calls(), "the call")
    }
}

#[tokio::test]
async fn a_command_outlives_the_harness_and_is_waited_for() {
    let Some(place) = Place::new() else { return };
    let text = "echo one; sleep 1.5; echo two; echo run >> count; cat /proc/*/environ | grep -ac secret; env | grep -c secret; exit 5";
    let command = place.killed_harness(text).await;
    let fate = command.recover(Duration::from_secs(20)).await.unwrap();
    let Fate::Ended(end) = fate else { panic!("{fate:?}") };
    assert_eq!((end.reason, end.code), (Reason::Exited, 5));
    assert_eq!(String::from_utf8(command.output().unwrap()).unwrap(), "one\ntwo\n0\n0\n");
    // Asked again, the answer is the same, and nothing has run twice.
    assert_eq!(command.recover(Duration::ZERO).await.unwrap(), Fate::Ended(end));
    assert_eq!(std::fs::read_to_string(place.folder.path().join("workspace/count")).unwrap(), "run\n");
    command.forget();
    assert_eq!(command.recover(Duration::ZERO).await.unwrap(), Fate::NeverRan);
}

#[tokio::test]
async fn without_a_runner_the_outcome_is_unknown() {
    let Some(place) = Place::new() else { return };
    let command = place.killed_harness("echo so far; sleep 86464").await;
    let name = place.calls();
    let runners: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let ours = line.contains("runner_process") && line.contains(name.to_str()?);
            ours.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        })
        .collect();
    assert_eq!(runners.len(), 1);
    let pid = rustix::process::Pid::from_raw(runners[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(command.recover(Duration::from_secs(20)).await.unwrap(), Fate::Unknown);
    assert_eq!(command.output().unwrap(), b"so far\n");
    until_gone("sleep 86464").await;
}
