//! Wall time, processor time and peak memory of a program and of everything that it waited for.
//!
//! `wait4` says it for a child; an engine, which is nobody's child here, is asked through `/proc`.

use std::fs;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use vfs_core::{Error, Kind, Result};

/// What something took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) seconds: f64,
    /// User and system time.
    pub(super) processor_seconds: f64,
    /// Resident memory at its peak; of several processes at once, the sum of their peaks.
    pub(super) peak_bytes: u64,
}

/// Runs a program to its end. If it fails, its last line of errors says why.
pub(super) fn run(command: &mut Command) -> Result<Cost> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| Error::io(format!("{name} does not start"), error))?;
    let mut errors = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut errors).map_err(|error| Error::io(format!("{name} cannot be heard"), error))?;
    }
    let (status, processor_seconds, peak_bytes) = wait(&child)?;
    let cost = Cost { seconds: start.elapsed().as_secs_f64(), processor_seconds, peak_bytes };
    if status.success() {
        return Ok(cost);
    }
    let errors = String::from_utf8_lossy(&errors);
    let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(Error::new(Kind::Unavailable, format!("{name} failed ({status}): {last}")))
}

/// Waits for a child and says what it and its own children took.
fn wait(child: &Child) -> Result<(ExitStatus, f64, u64)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live memory of the right size; the child is ours and nobody has waited for it.
        let pid = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
        if pid >= 0 {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(Error::io("cannot wait for a program", error));
        }
    }
    // SAFETY: zeroes are a valid value, and wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let processor = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    Ok((ExitStatus::from_raw(status), processor, usage.ru_maxrss as u64 * 1024))
}

/// What a process that is not our child has taken since it began: processor seconds and peak memory.
pub(super) fn of_process(pid: u32) -> Result<(f64, u64)> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).map_err(|error| Error::io(format!("cannot read {path}"), error))
    };
    let unreadable = || Error::new(Kind::Internal, format!("/proc/{pid} looks unlike any other"));
    let peak = peak_of(&read("status")?).ok_or_else(unreadable)?;
    let ticks = ticks_of(&read("stat")?).ok_or_else(unreadable)?;
    // SAFETY: sysconf takes a number and returns one.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Ok((ticks as f64 / a_second as f64, peak))
}

/// `VmHWM` in bytes.
pub(super) fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// User, system, and the same of children that were waited for. The name in brackets may hold anything.
pub(super) fn ticks_of(stat: &str) -> Option<u64> {
    let behind_name = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = behind_name.split_whitespace().skip(11).take(4).collect();
    if fields.len() < 4 {
        return None;
    }
    fields.iter().map(|field| field.parse::<u64>().ok()).sum()
}
