//! What the fuzz target does: decoding under an allocator that is watched.
//!
//! It takes the name of one decoder of `vfs_core::testing::decoders`, or the wire's frames. Its input may not make it panic, nor make it take
//! more memory at once than the input pays for; what it understands it writes again in the same bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vfs_core::testing::decoders;

/// Alone, without the crate `api` and the web server that it brings.
#[path = "../../api/src/wire/frames.rs"]
pub mod frames;

/// Remembers the largest single allocation of this thread.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator; the cell needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The one decoder that is not in `vfs_core`.
const FRAMES: &str = "frames";

/// One input for the decoder of this name.
pub fn decode(name: &str, bytes: &[u8]) {
    if name == FRAMES {
        return decode_frames(bytes);
    }
    let decoder = decoders::find(name);
    watched(bytes, (decoder.memory_max)(bytes.len()), || {
        decoder.check(bytes);
    });
}

/// One input for the frames of the wire. Four items of at most 4 KiB are allowed here, so that the limits are met often.
fn decode_frames(bytes: &[u8]) {
    let body = bytes::Bytes::copy_from_slice(bytes);
    watched(bytes, 4 * bytes.len() + 64 * 1024, || {
        if let Ok(items) = frames::decode(body, 4, 4096) {
            assert!(frames::encode(&items)[..] == *bytes, "understood, but written in another way");
        }
    });
}

fn watched(bytes: &[u8], most: usize, work: impl FnOnce()) {
    LARGEST.with(|largest| largest.set(0));
    work();
    let largest = LARGEST.with(Cell::get);
    assert!(largest <= most, "{largest} bytes were taken at once for an input of {}", bytes.len());
}
