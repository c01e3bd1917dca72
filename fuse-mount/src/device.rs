//! Gets `/dev/fuse` mounted at a path, and unmounted again.
//!
//! With the right to mount, by mount(2) itself (0.3 ms); otherwise through the setuid helper `fusermount3` (16 ms),
//! which passes the descriptor over a socket. Always `nosuid,nodev`.

use std::ffi::{CString, OsString};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use vfs_core::{Error, Kind, Result};

use crate::limits::REQUEST_MAX;
use crate::mount::MountOptions;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
const SUBTYPE: &str = "esker";
/// The type of our mounts in the table of mounts.
pub(crate) const KIND: &str = "fuse.esker";

/// Who checks permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// The kernel, by modes and owners (`default_permissions`); nothing else does.
    ByKernel,
    /// The file system itself, at each open and change; modes only say what it would answer.
    ByFilesystem,
}

impl Permissions {
    /// What is added to the mount's options.
    fn option(self) -> &'static str {
        match self {
            Permissions::ByKernel => ",default_permissions",
            Permissions::ByFilesystem => "",
        }
    }
}

/// Mounts at `mountpoint` and returns the kernel's end of the conversation.
pub(crate) fn mount(mountpoint: &Path, options: &MountOptions, permissions: Permissions) -> Result<OwnedFd> {
    if options.fs_name.contains([',', '\0']) {
        return Err(Error::new(Kind::Invalid, "the name of a mount may hold neither a comma nor NUL"));
    }
    match mount_directly(mountpoint, options, permissions)? {
        Some(device) => Ok(device),
        None => mount_through_helper(mountpoint, options, permissions),
    }
}

/// Whether this process may mount by itself.
#[cfg(test)]
pub(crate) fn can_mount() -> bool {
    rustix::process::geteuid().is_root() && std::fs::File::open(DEVICE).is_ok()
}

/// `None` if this process lacks the right.
fn mount_directly(mountpoint: &Path, options: &MountOptions, permissions: Permissions) -> Result<Option<OwnedFd>> {
    let device = match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(device) => device,
        Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
        Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            let context = format!(
                "this system has no {DEVICE}: load the kernel module (modprobe fuse), or pass the device into the container (--device {DEVICE})"
            );
            return Err(Error::new(Kind::Unavailable, context));
        }
        Err(error) => return Err(Error::io(format!("{DEVICE} cannot be opened"), error.into())),
    };
    let data = mount_data(device.as_raw_fd(), options, permissions);
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, options.read_only);
    match rustix::mount::mount(&*options.fs_name, mountpoint, KIND, flags, Some(data.as_c_str())) {
        Ok(()) => Ok(Some(device)),
        Err(Errno::PERM) => Ok(None),
        Err(error) => Err(Error::io(format!("mounting at {} failed", mountpoint.display()), error.into())),
    }
}

/// What the kernel's FUSE wants to know; see `fuse_parse_param` in the kernel's `fs/fuse/inode.c`.
fn mount_data(device: i32, options: &MountOptions, permissions: Permissions) -> CString {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let mut data = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},max_read={REQUEST_MAX}");
    data.push_str(permissions.option());
    if options.allow_other {
        data.push_str(",allow_other");
    }
    CString::new(data).expect("numbers and words because nothing of the caller's is in it")
}

fn mount_through_helper(mountpoint: &Path, options: &MountOptions, permissions: Permissions) -> Result<OwnedFd> {
    let (ours, theirs) =
        UnixStream::pair().map_err(|error| Error::io("no socket to the mount helper could be made", error))?;
    let mut child = Command::new(HELPER)
        .arg("-o")
        .arg(helper_options(options, permissions))
        .arg("--")
        .arg(mountpoint)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| no_helper(&error))?;
    let device = receive_device(&ours);
    drop(ours);
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What it says is for the message only.
        let _ = stderr.by_ref().take(4096).read_to_string(&mut said);
    }
    let status = child.wait().map_err(|error| Error::io(format!("{HELPER} was lost"), error))?;
    match device {
        Ok(Some(device)) if status.success() => Ok(device),
        Ok(_) => Err(helper_refused(mountpoint, said.trim())),
        Err(error) => Err(Error::io(format!("{HELPER} sent no descriptor"), error)),
    }
}

fn helper_options(options: &MountOptions, permissions: Permissions) -> OsString {
    let mut text = format!("nosuid,nodev,max_read={REQUEST_MAX},subtype={SUBTYPE}");
    text.push_str(permissions.option());
    // The helper takes a backslash as an escape.
    text.push_str(&format!(",fsname={}", options.fs_name.replace('\\', "\\\\")));
    if options.read_only {
        text.push_str(",ro");
    }
    if options.allow_other {
        text.push_str(",allow_other");
    }
    text.into()
}

fn no_helper(error: &io::Error) -> Error {
    let context = if error.kind() == io::ErrorKind::NotFound {
        format!(
            "mounting without root needs {HELPER}, which is not installed: install the package fuse3, or mount as root"
        )
    } else {
        format!("{HELPER} could not be started: {error}")
    };
    Error::new(Kind::Unavailable, context)
}

fn helper_refused(mountpoint: &Path, said: &str) -> Error {
    if said.contains("user_allow_other") {
        let context = "other users may only be let in (allow_other) if /etc/fuse.conf has a line `user_allow_other`: \
                       add it, mount as root, or leave the option out";
        return Error::new(Kind::Denied, context).because(said);
    }
    if said.contains(DEVICE) && said.contains("Permission denied") {
        let context = format!(
            "this user may not open {DEVICE}: mount as root, or have the device opened for users (chmod 666 {DEVICE})"
        );
        return Error::new(Kind::Denied, context).because(said);
    }
    if said.contains(DEVICE) || said.contains("device not found") {
        let context = format!("this system has no usable {DEVICE}: load the kernel module (modprobe fuse): {said}");
        return Error::new(Kind::Unavailable, context);
    }
    Error::new(Kind::Denied, format!("{HELPER} refused to mount at {}: {said}", mountpoint.display()))
}

/// `None` if the helper went away without sending one.
fn receive_device(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(rights)
}

/// Unmounts what is on top at `mountpoint`. `Busy` if somebody uses it and `lazy` is not set.
pub(crate) fn unmount(mountpoint: &Path, lazy: bool) -> Result<()> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => unmount_through_helper(mountpoint, lazy),
        Err(Errno::BUSY) => Err(Error::new(Kind::Busy, format!("{} is in use", mountpoint.display()))),
        Err(Errno::INVAL | Errno::NOENT) => {
            Err(Error::new(Kind::NotFound, format!("nothing is mounted at {}", mountpoint.display())))
        }
        Err(error) => Err(Error::io(format!("{} could not be unmounted", mountpoint.display()), error.into())),
    }
}

fn unmount_through_helper(mountpoint: &Path, lazy: bool) -> Result<()> {
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    let output = command.arg("--").arg(mountpoint).stdin(Stdio::null()).output().map_err(|error| no_helper(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let kind = if said.contains("busy") { Kind::Busy } else { Kind::Denied };
    Err(Error::new(kind, format!("{} could not be unmounted: {}", mountpoint.display(), said.trim())))
}

/// `st_dev` of what is mounted at a path, without asking its daemon.
pub(crate) fn device_of(path: &Path) -> io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags, makedev, statx};
    let stat = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
    Ok(makedev(stat.stx_dev_major, stat.stx_dev_minor))
}

#[cfg(test)]
mod tests;
