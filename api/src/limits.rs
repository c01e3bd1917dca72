//! The limits of the API, each with its reason. Those of the filesystem are in `vfs_core::limits`.

use std::time::Duration;

use vfs_core::limits::{CHUNK_MAX, FILE_SIZE_MAX};

/// Largest JSON request body in bytes: a message of 64 KiB and a long list of exclude patterns fit.
pub const JSON_BODY_MAX: usize = 1024 * 1024;
/// Most items of one batch of trees or blobs: 256 tree nodes of 64 KiB are 16 MiB of answer.
pub const BATCH_ITEMS_MAX: usize = 256;
/// Most chunks of one batch, either way: 16 of the largest are 16 MiB in memory on each side.
pub const BATCH_CHUNKS_MAX: usize = 16;
/// Bytes of chunks after which a client begins the next batch: enough to fill the pipe, little enough to retry.
pub const BATCH_CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Largest body of one batch of chunks, with its framing.
pub const CHUNKS_BODY_MAX: usize = BATCH_CHUNKS_MAX * (CHUNK_MAX + 4) + 4;
/// Largest canonical blob that travels: what half a pack holds, half a million extents.
pub const BLOB_FRAME_MAX: usize = 32 * 1024 * 1024;
/// A client cuts a change set into parts of about this many bytes.
pub const CHANGES_PART_BYTES: usize = 4 * 1024 * 1024;
/// Largest part of a change set: one file with the largest blob, or the names of one directory (some three million),
/// neither of which can be cut.
pub const CHANGES_BODY_MAX: usize = 2 * BLOB_FRAME_MAX;
/// Largest JSON answer that a client takes: the trees of 100,000 directories after a publish are 30 MB.
pub const ANSWER_MAX: usize = 256 * 1024 * 1024;
/// Longest line of a stream of progress: a check report names each damage.
pub const LINE_MAX: usize = 16 * 1024 * 1024;
/// Lines of progress that wait for a slow reader; more are dropped, the result never is.
pub const LINES_WAITING_MAX: usize = 64;
/// Lines of one kind of progress come at most this often: more cost more than the work itself, and nobody sees them.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// Entries in one page of a directory unless the caller says otherwise.
pub const LIST_DEFAULT: u32 = 1_000;
/// Most entries in one page: some 3 MB of JSON.
pub const LIST_MAX: u32 = 10_000;
/// Rows of a log unless the caller says otherwise.
pub const LOG_DEFAULT: u32 = 100;
/// Most rows of a log in one answer.
pub const LOG_MAX: u32 = 10_000;
/// Sessions in one answer unless the caller says otherwise.
pub const SESSIONS_DEFAULT: u32 = 1_000;
/// Events in one page of a turn log unless the caller says otherwise.
pub const EVENTS_DEFAULT: u32 = 1_000;
/// Most events in one page of a turn log; large ones end it earlier.
pub const EVENTS_MAX: u32 = 10_000;
/// Largest body of an append to a turn log: what one may hold, and the names around it.
pub const EVENTS_BODY_MAX: usize = vfs_core::limits::EVENTS_APPEND_BYTES_MAX + JSON_BODY_MAX;
/// Events that a follower of a turn log has in memory at once; large ones are fewer.
pub const FOLLOW_PAGE: u32 = 64;
/// A follower looks this often although it heard no news: it may have missed some.
pub const FOLLOW_POLL: Duration = Duration::from_secs(5);
/// A silent stream of events says this often that it lives.
pub const FOLLOW_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream of events that was silent for this long is dead: three signs of life were lost.
pub const FOLLOW_SILENCE_MAX: Duration = Duration::from_secs(50);
/// Pause before a stream of events that ended early is asked for again.
pub const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// How long a follower asks for an engine that went away.
pub const FOLLOW_PATIENCE: Duration = Duration::from_secs(60);
/// Lines of a diff unless the caller says otherwise.
pub const DIFF_DEFAULT: u32 = 10_000;
/// Most lines of one diff: more than anybody reads, and 100 MB of JSON if all paths are long.
pub const DIFF_MAX: u32 = 100_000;
/// Most patterns that one import leaves out: they are compiled into one automaton.
pub const EXCLUDES_MAX: usize = 1_000;
/// Paths that a scan names as changed: enough to show, not a diff.
pub const CHANGED_PATHS_MAX: usize = 20;
/// Zeroes of a hole are sent in pieces of this many bytes.
pub const ZEROES: usize = 64 * 1024;
/// Chunks that are read ahead of a reader of content.
pub const READ_AHEAD: usize = 4;
/// A range request beyond this offset is refused.
pub const OFFSET_MAX: u64 = FILE_SIZE_MAX;

/// Largest control message in bytes: twice the largest answer of `files`, and several times a publish note of 64 KiB
/// or a piece of content, both escaped in JSON.
pub const CONTROL_MESSAGE_MAX: usize = 3 * vfs_core::limits::FILES_ANSWER_MAX;
/// Control requests that one holder has under way at once.
pub const CONTROL_PENDING_MAX: usize = 64;
/// A control connection is pinged this often, from both sides.
pub const CONTROL_PING: Duration = Duration::from_secs(5);
/// A control connection that was silent for this long is dead: three pings were lost. Below the lease's 60 s, so
/// that callers get their 503 before anybody else may take the lease.
pub const CONTROL_SILENCE_MAX: Duration = Duration::from_secs(20);
/// The lease of a connected holder is renewed this often: a third of its life.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(20);
/// How long a caller waits for a barrier: it uploads all unpublished content first.
pub const BARRIER_DEADLINE: Duration = Duration::from_secs(600);
/// How long a caller waits for a holder's status, which is answered from memory.
pub const STATUS_DEADLINE: Duration = Duration::from_secs(5);
/// How long a caller waits for something with files: a search may take its time, a large write waits for the disk.
pub const FILES_DEADLINE: Duration = Duration::from_secs(45);
/// Snapshots that stay open for the next reader; each may keep some 128 MB of caches.
pub const SNAPSHOTS_OPEN_MAX: usize = 4;
/// A snapshot that nobody has read for this long is closed.
pub const SNAPSHOT_OPEN_IDLE: Duration = Duration::from_secs(60);
/// A mount that has just attached opens its control connection within this time; whoever asks for its files waits.
pub const HOLDER_GRACE: Duration = Duration::from_secs(2);
/// How long a caller waits while another engine of the team writes to the same workspace: many writes, one after another.
pub const OTHER_ENGINE_WAIT: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
pub const HOLDER_POLL: Duration = Duration::from_millis(10);
/// How long a caller waits until a holder shows another snapshot: it reads trees and tells the kernel.
pub const SWAP_DEADLINE: Duration = Duration::from_secs(120);
/// How long a caller waits until a holder has published, unmounted and detached.
pub const RELEASE_DEADLINE: Duration = Duration::from_secs(600);

/// Shutdown waits this long for requests under way before it cuts them.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// First pause before a request is tried again; it doubles.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a request is tried again: an engine that is back is found within this.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a step of a publish is tried again; the overlay stays in the journal, so the mount tries later as well.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(60);
/// How long one ordinary request may take.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// How long a connection may take to come up: a socket on this machine needs microseconds, a far engine a second.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a commit may take: it builds all changed directories and uploads them.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(600);

/// How long a link to the page is good: from the terminal into the browser.
pub const CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// Links that wait at once; the oldest goes first.
pub const CODES_MAX: usize = 16;
/// How long a visit of the page lasts: a working day.
pub const VISIT_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Visits at once; the oldest goes first.
pub const VISITS_MAX: usize = 64;
/// An engine that would leave stays this long after the last request of a visit: somebody reads.
pub const PAGE_KEEPS: Duration = Duration::from_secs(15 * 60);
/// How long whoever asks for a link waits until the page listens: a bind and a message.
pub const LISTEN_DEADLINE: Duration = Duration::from_secs(5);
/// Largest form that the page takes: one code.
pub const FORM_MAX: usize = 1024;
/// Entries of a list on one page.
pub const PAGE_ENTRIES: usize = 1_000;
/// Snapshots of a workspace on one page: each has two buttons.
pub const PAGE_SNAPSHOTS: usize = 200;
/// Bytes of a file on one page.
pub const PAGE_FILE_BYTES: u64 = 512 * 1024;
/// Lines of diffs on one page.
pub const PAGE_DIFF_LINES: usize = 5_000;
/// Files whose diffs are on one page: each is read twice.
pub const PAGE_DIFF_FILES: usize = 50;
/// Lines, on both sides together, between the first and the last difference of the files of a page: comparing takes
/// time with their product, some seconds at worst.
pub const PAGE_DIFF_WORK: usize = 20_000;
/// Characters of one line on a page.
pub const PAGE_LINE_CHARS: usize = 4_000;
/// Events of a turn log on one page: some forty turns.
pub const PAGE_EVENTS: u32 = 200;
/// Bytes of one text (an answer, an input, a result) on the page of its session.
pub const PAGE_TEXT_BYTES: usize = 16 * 1024;
/// Changed paths shown with a turn.
pub const PAGE_TURN_CHANGES: u32 = 12;
