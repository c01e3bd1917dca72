//! How results become replies.

use std::time::Duration;

use bytes::Bytes;
use fuser::{Errno, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyXattr};
use vfs_core::workspace::Attr;

use super::{Core, GENERATION};
use crate::limits::CACHE_TTL;
use crate::translate as to;

pub(super) fn send_entry(core: &Core, reply: ReplyEntry, attr: Attr) {
    reply.entry(&CACHE_TTL, &core.shown(&attr), GENERATION);
}

/// Inode 0 with a TTL is how the kernel is told to remember that a name is absent.
pub(super) fn send_found(core: &Core, reply: ReplyEntry, found: Option<Attr>) {
    match found {
        Some(attr) => send_entry(core, reply, attr),
        None => reply.entry_with_ttls(&Duration::ZERO, &CACHE_TTL, &to::absent(), GENERATION),
    }
}

pub(super) fn send_attr(core: &Core, reply: ReplyAttr, attr: Attr) {
    reply.attr(&CACHE_TTL, &core.shown(&attr));
}

pub(super) fn send_ok(_: &Core, reply: ReplyEmpty, (): ()) {
    reply.ok();
}

pub(super) fn send_bytes(_: &Core, reply: ReplyData, bytes: Bytes) {
    reply.data(&bytes);
}

/// `size` 0 asks for the length only.
pub(super) fn send_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match value.len() {
        length if size == 0 => reply.size(length as u32),
        length if length > size as usize => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}
