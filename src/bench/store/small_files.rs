//! Small files to S3: written into a mount and stored, per second. SeaweedFS on loopback, started here and stopped again.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vfs_core::{Error, Kind, Result};

use super::super::command::{program, run as run_program};
use super::super::machine::median;
use super::esker::Program;
use super::report::Line;

/// Files of one repetition, and their size.
const FILES: usize = 2_000;
const FILE_BYTES: usize = 1 << 10;
/// SeaweedFS takes four seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BUCKET: &str = "bench";

/// The rows, or why there are none.
pub(super) fn run(scratch: &Path, esker: &Program, seaweedfs: &Path, runs: u32) -> Result<Vec<Line>> {
    let folder = scratch.join("small");
    let made = fs::create_dir_all(folder.join("mounted")).and_then(|()| fs::create_dir(folder.join("weed")));
    made.map_err(|error| Error::io("cannot make a folder", error))?;
    let server = Server::start(seaweedfs, &folder.join("weed"))?;
    server.make_bucket()?;
    let world = Engine::start(esker, &folder, &server)?;
    let (mut written, mut stored) = (Vec::new(), Vec::new());
    for repetition in 0..runs {
        let (wrote, published) = world.store_files(repetition)?;
        eprintln!("small files: written in {wrote:.3} s, stored after {published:.3} s");
        written.push(FILES as f64 / wrote);
        stored.push(FILES as f64 / published);
    }
    let line = |what: &str, values: &[f64], remark: &str| Line {
        what: what.to_owned(),
        value: median(values).unwrap_or_default(),
        unit: "files/s",
        remark: remark.to_owned(),
    };
    Ok(vec![
        line("files of 1 KiB written into a mount", &written, "local: in the journal"),
        line(
            "… and stored",
            &stored,
            "with the checkpoint that puts them into SeaweedFS on loopback and publishes them",
        ),
    ])
}

/// SeaweedFS without keys: everybody on this machine may do everything for as long as this runs.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(seaweedfs: &Path, folder: &Path) -> Result<Server> {
        let missing = |error| Error::io(format!("SeaweedFS ({}) does not start", seaweedfs.display()), error);
        let ports = free_ports(4)?;
        let mut command = Command::new(seaweedfs);
        command
            .current_dir(folder)
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.args(["server", "-s3", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=50", "-master.volumeSizeLimitMB=64"]);
        for (name, port) in ["master", "volume", "filer", "s3"].iter().zip(&ports) {
            command.arg(format!("-{name}.port={port}"));
        }
        Ok(Server { child: command.spawn().map_err(missing)?, port: ports[3] })
    }

    /// As soon as it answers.
    fn make_bucket(&self) -> Result<()> {
        let start = Instant::now();
        while !self.put(&format!("/{BUCKET}")).is_ok_and(|status| status == 200) {
            if start.elapsed() > PATIENCE {
                return Err(Error::new(Kind::Unavailable, "SeaweedFS did not become ready"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn put(&self, path: &str) -> std::io::Result<u16> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(connection, "PUT {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\r\n", self.port)?;
        let mut head = [0; 12];
        connection.read_exact(&mut head)?;
        Ok(std::str::from_utf8(&head[9..]).ok().and_then(|code| code.parse().ok()).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) && !child.try_wait().is_ok_and(|ended| ended.is_some()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Ports that were free just now, with those 10,000 above them, where SeaweedFS puts gRPC.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let found: Vec<u16> = (22_000..30_000).filter(|&port| free(port) && free(port + 10_000)).take(count).collect();
    if found.len() == count { Ok(found) } else { Err(Error::new(Kind::Unavailable, "there are no free ports")) }
}

/// An engine on that bucket, with a mounted workspace.
struct Engine {
    program: Program,
    child: Child,
    data: PathBuf,
    mounted: PathBuf,
    server: String,
}

impl Engine {
    fn start(program: &Program, folder: &Path, server: &Server) -> Result<Engine> {
        let (data, mounted) = (folder.join("data"), folder.join("mounted"));
        let server = format!("http://127.0.0.1:{}", server.port);
        let mut serve = esker(program, &data, &server);
        serve.args(["serve", "--bucket", &format!("s3://{BUCKET}/store")]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = serve.spawn().map_err(|error| Error::io("esker serve does not start", error))?;
        let mut engine = Engine { program: program.clone(), child, data, mounted, server };
        let start = Instant::now();
        while !engine.data.join("engine.json").exists() {
            if start.elapsed() > PATIENCE || engine.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(Error::new(Kind::Unavailable, "esker serve did not become ready on SeaweedFS"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        run_program(engine.esker().args(["workspace", "create", "small"]))?;
        run_program(engine.esker().args(["mount", "small"]).arg(&engine.mounted).arg("--detach"))?;
        Ok(engine)
    }

    fn esker(&self) -> Command {
        esker(&self.program, &self.data, &self.server)
    }

    /// Seconds until all files were written, and until they were stored.
    fn store_files(&self, repetition: u32) -> Result<(f64, f64)> {
        let failed = |error| Error::io("cannot write into the mount", error);
        let folder = self.mounted.join(format!("run-{repetition}"));
        fs::create_dir(&folder).map_err(failed)?;
        let start = Instant::now();
        for number in 0..FILES {
            // No two files are equal, or they would be stored once; and nothing in them can be compressed.
            let mut state = (u64::from(repetition) << 32 | number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let content: Vec<u8> = (0..FILE_BYTES)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            fs::write(folder.join(format!("file-{number}")), content).map_err(failed)?;
        }
        let written = start.elapsed().as_secs_f64();
        run_program(self.esker().args(["checkpoint", "small", "-m", "bench"]))?;
        Ok((written, start.elapsed().as_secs_f64()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let unmounted = run_program(self.esker().arg("unmount").arg(&self.mounted));
        if let Err(error) = unmounted {
            eprintln!("esker unmount: {}", error.context());
            let _ = run_program(program("umount", Path::new("/")).arg("-l").arg(&self.mounted));
        }
        stop(&mut self.child);
    }
}

fn esker(program: &Program, data: &Path, server: &str) -> Command {
    let mut command = program.command(data);
    command.env("AWS_ENDPOINT", server).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench").env("AWS_REGION", "us-east-1");
    command
}
