//! Every limit in one place, with its reason.

use std::time::Duration;

/// Longest name in bytes: Linux's `NAME_MAX`.
pub const NAME_MAX: usize = 255;
/// Longest symlink target in bytes: Linux's `PATH_MAX` without the NUL.
pub const SYMLINK_MAX: usize = 4095;
/// Deepest directory nesting that is published: twice what `PATH_MAX` can name in one call.
pub const DEPTH_MAX: usize = 4096;
/// Content of at most this many bytes sits inside its tree entry.
pub const INLINE_MAX: usize = 256;
/// Encoded extended attributes of at most this many bytes sit inside their tree entry.
pub const XATTR_INLINE_MAX: usize = 256;
/// Largest value of one extended attribute: Linux's `XATTR_SIZE_MAX`.
pub const XATTR_VALUE_MAX: usize = 64 * 1024;
/// Largest encoded list of one inode's extended attributes; fits a chunk.
pub const XATTR_TOTAL_MAX: usize = 256 * 1024;
/// Most hard links of one inode: ext4's limit.
pub const LINK_MAX: u32 = 65_000;
/// Largest tree node in canonical bytes.
pub const TREE_NODE_MAX: usize = 64 * 1024;
/// Most entries of one tree node. With the longest possible entry, this many stay below [`TREE_NODE_MAX`].
pub const TREE_FANOUT_MAX: usize = 64;
/// Fewest entries of a tree node that is not the last one of its level.
pub const TREE_FANOUT_MIN: usize = 8;
/// Largest file: the largest offset that Linux knows.
pub const FILE_SIZE_MAX: u64 = i64::MAX as u64;

/// Smallest, average and largest chunk in bytes (decision 0003: measured).
pub const CHUNK_MIN: usize = 64 * 1024;
/// See [`CHUNK_MIN`].
pub const CHUNK_AVERAGE: usize = 256 * 1024;
/// See [`CHUNK_MIN`].
pub const CHUNK_MAX: usize = 1024 * 1024;

/// Holes are kept in whole units of this many bytes: the block of ext4, xfs and the page cache.
pub const HOLE_UNIT: u64 = 4096;

/// A pack is closed when it has reached this many bytes.
pub const PACK_TARGET: u64 = 64 * 1024 * 1024;
/// … or when it holds so many objects: each costs some 200 bytes of memory until the pack is in the index.
pub const PACK_OBJECTS_TARGET: usize = 64 * 1024;
/// Largest pack that is read: one that was almost full when the largest object came.
pub const PACK_MAX: u64 = 104 * 1024 * 1024;

/// Inode numbers that a holder takes from the repo's counter at a time.
pub const INO_RANGE: u64 = 65_536;

/// How long a mount waits for content that is not in memory before it answers EIO.
pub const MISS_DEADLINE: Duration = Duration::from_secs(30);
/// Misses that one mount has under way at once.
pub const MISSES_MAX: usize = 64;
/// The journal is synced at least this often.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// A lease whose holder has not been heard of for this long may be taken over by another machine.
pub const LEASE_TTL: Duration = Duration::from_secs(60);
/// Who reads a snapshot for long, a read-only mount or an export, keeps it for this long after it last said so: as long as
/// gc leaves alone what nothing reaches.
pub const READER_TTL: Duration = Duration::from_secs(24 * 3600);
/// How often it says so; an engine that is not needed otherwise is started for that.
pub const READER_RENEWAL: Duration = Duration::from_secs(3600);
/// An engine that was started by a command leaves after this long without clients and holders.
pub const ENGINE_IDLE: Duration = Duration::from_secs(60);
/// Unreachable packs are kept at least this long unless the caller says otherwise.
pub const GC_GRACE: Duration = Duration::from_secs(24 * 3600);

/// A journal segment is followed by a new one when it has grown to this many bytes.
pub const JOURNAL_SEGMENT_TARGET: u64 = 256 * 1024 * 1024;
/// Longest record with what is staged before it: FUSE writes at most 1 MiB at once, names and adoptions are short.
pub const JOURNAL_RECORD_MAX: usize = 16 * 1024 * 1024;
/// Bytes of tree nodes and blobs that a workspace keeps in memory.
pub const TREE_CACHE_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of content that a workspace keeps in memory; the kernel's page cache holds what is hot.
pub const CHUNK_CACHE_MAX: u64 = 64 * 1024 * 1024;
/// Chunks of neighbouring files that are fetched along with a missing one, and their bytes.
pub const PREFETCH_CHUNKS: usize = 64;
/// See [`PREFETCH_CHUNKS`].
pub const PREFETCH_BYTES: u64 = 2 * 1024 * 1024;
/// How long a workspace may stand still for a restore.
pub const FREEZE_MAX: Duration = Duration::from_secs(10);
/// Times that one operation may miss something: deeper than any tree of nodes, bounded all the same.
pub const MISS_ROUNDS_MAX: usize = 64;
/// Names of a directory that are listed at once; a larger one is read in the background first.
pub const LISTING_SYNC_MAX: u64 = 4096;
/// Bytes of content sent to the engine at once.
pub const PUBLISH_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Changed inodes sent to the engine at once.
pub const PUBLISH_BATCH_NODES: usize = 10_000;
/// Tree nodes asked for at once.
pub const TREES_PER_READ: usize = 256;
/// Rounds of reading that a swap of the base may take: one for each level of changed directories.
pub const SWAP_ROUNDS_MAX: usize = 10_000;
/// Largest object in canonical bytes: a blob of 450,000 chunks, a file of some 110 GB. With it, a pack that is almost
/// full stays below [`PACK_MAX`].
pub const OBJECT_MAX: usize = 32 * 1024 * 1024;
/// zstd's default: a good third off source code at some 300 MB/s.
pub const COMPRESSION_LEVEL: i32 = 3;
/// Objects of at most this many bytes are hashed and compressed where the caller runs: some 30 µs.
pub const SMALL_OBJECT_MAX: usize = 16 * 1024;
/// A batch looks up, compresses and packs its new objects once it holds this many …
pub const BATCH_PENDING_OBJECTS: usize = 512;
/// … or this many bytes of them.
pub const BATCH_PENDING_BYTES: usize = 8 * 1024 * 1024;
/// Objects that are looked up in one query; SQLite allows 32,766 variables.
pub const LOOKUP_MAX: usize = 500;
/// Objects of one pack that are nearer than this are read in one request: a request costs more than these bytes.
pub const READ_GAP_MAX: u64 = 32 * 1024;
/// Most bytes that are read in one request.
pub const READ_SPAN_MAX: u64 = 4 * 1024 * 1024;
/// Requests that one read has under way at once.
pub const READS_AT_ONCE: usize = 16;
/// Stored bytes that all reads together have in memory until they are unpacked: else many callers would take
/// [`READS_AT_ONCE`] times [`READ_SPAN_MAX`] each.
pub const READ_BYTES_AT_ONCE: u64 = 64 * 1024 * 1024;
/// Room that the disk cache may take unless somebody says otherwise: a few large working sets, little of any disk.
pub const CACHE_DISK_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Packs of which the disk cache keeps something: bounds its memory to some MB where packs are small.
pub const CACHE_PACKS_MAX: usize = 65_536;
/// Files that the disk cache has open; a process may often have only 1,024 of all kinds.
pub const CACHE_FILES_OPEN_MAX: usize = 64;
/// Sequential readers that are followed at once; the one that has read nothing for longest is forgotten.
pub const READAHEAD_STREAMS: usize = 32;
/// Spans that are read ahead at once, for all readers together.
pub const READAHEADS_AT_ONCE: usize = 4;
/// Largest attach bundle: one request that takes less than a tenth of a second on a slow line of 400 Mbit/s.
pub const BUNDLE_MAX: usize = 4 * 1024 * 1024;
/// Snapshots whose attaches are remembered, so that those attached again get a bundle.
pub const BUNDLES_REMEMBERED: usize = 256;
/// An attach waits this long for its bundle; without it, it only reads more often.
pub const BUNDLE_WAIT: Duration = Duration::from_secs(5);
/// Snapshots over which statistics add up logical bytes; reading more takes too long for an answer.
pub const STATISTICS_SNAPSHOTS_MAX: usize = 10_000;
/// Metrics that are younger than this are given again: adding up the index takes a second for some million objects.
pub const STATISTICS_AGE: Duration = Duration::from_secs(30);
/// Length of a part of an upload: S3 takes none below 5 MiB, and a pack has eight.
pub const UPLOAD_PART: usize = 8 * 1024 * 1024;
/// Parts of one upload that are on their way at once; with the one being filled, four are in memory.
pub const UPLOAD_PARTS_AT_ONCE: usize = 3;
/// A request to the bucket is made again at most this often, with pauses of 0.1, 0.2, 0.4 … seconds, and as much again
/// by chance: some ten seconds of 503s are waited out.
pub const RETRIES_MAX: usize = 7;
/// See [`RETRIES_MAX`].
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
/// See [`RETRIES_MAX`].
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// No request is made again after this long: below [`MISS_DEADLINE`], so that the cause is named and not the deadline.
pub const RETRY_TIME_MAX: Duration = Duration::from_secs(20);
/// Half-written files in a local bucket that nobody has touched for this long are removed: no upload takes a week.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Memory for plain tree nodes, blobs and snapshots that were read, in bytes.
pub const OBJECT_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Connections to SQLite that read; one more writes.
pub const DATABASE_READERS: u32 = 4;
/// SQLite's memory for pages of the connection that writes, in KiB: the keys of the index are random, so an insert
/// may hit any of the pages of its tree, some 60 MiB for a million objects. SQLite's own 2 MiB mean a read for each.
pub const DATABASE_CACHE_KIB: u32 = 64 * 1024;
/// The same for each connection that reads: it finds the rest in the page cache of the system.
pub const DATABASE_READER_CACHE_KIB: u32 = 8 * 1024;
/// Statements that a connection keeps prepared: more than there are fixed ones.
pub const DATABASE_STATEMENTS: usize = 256;
/// Connections of an engine to PostgreSQL that read; a server has 100 by default, for some eight engines.
pub const POSTGRES_READERS: u32 = 8;
/// Connections of an engine to PostgreSQL that write: writers take turns, so the second is there when the first is done.
pub const POSTGRES_WRITERS: u32 = 2;
/// How long PostgreSQL may take to accept a connection, and a task waits for one that is free.
pub const DATABASE_CONNECT: Duration = Duration::from_secs(10);
/// How long PostgreSQL may take for one statement, or for the next row of one: gc looks at the whole index in one.
pub const DATABASE_ANSWER: Duration = Duration::from_secs(300);
/// A connection that was used less than this ago is taken without asking whether it lives.
pub const DATABASE_FRESH: Duration = Duration::from_secs(5);
/// PostgreSQL ends a transaction that does nothing for this long: its engine hangs, and keeps all writers waiting.
pub const DATABASE_TRANSACTION_IDLE: Duration = Duration::from_secs(60);
/// How long an engine waits for another one that changes the tables: a step takes seconds.
pub const DATABASE_MIGRATION: Duration = Duration::from_secs(60);
/// How often it looks.
pub const DATABASE_MIGRATION_POLL: Duration = Duration::from_millis(200);
/// How long a statement waits for another one of the same database.
pub const DATABASE_BUSY: Duration = Duration::from_secs(30);
/// Automatic history rows older than this are thinned.
pub const AUTOMATIC_KEPT: Duration = Duration::from_secs(3600);
/// Of thinned rows, one stays in each span of this length.
pub const AUTOMATIC_SPAN: Duration = Duration::from_secs(3600);
/// Snapshots that are walked to find an ancestor by its prefix.
pub const ANCESTORS_MAX: usize = 10_000;
/// Longest name of a workspace in bytes: it becomes a folder's name.
pub const WORKSPACE_NAME_MAX: usize = 100;
/// Longest source, host or mount point that is remembered, in bytes: `PATH_MAX`.
pub const DESCRIPTION_MAX: usize = 4096;
/// Changed inodes and names of one publish; bounds the engine's memory to some hundred MB.
pub const PUBLISH_CHANGES_MAX: usize = 2_000_000;
/// Publishes that are open at once in one engine.
pub const PUBLISHES_MAX: usize = 1024;
/// Most inode numbers taken at once: far more than anybody has files, far below what the counter holds.
pub const INO_TAKE_MAX: u64 = 1 << 32;
/// Objects that gc and check read at a time.
pub const WALK_BATCH: usize = 512;
/// Paths that check names for one damaged object.
pub const DAMAGE_HITS_MAX: usize = 8;
/// Times that gc catches up because publishes overtook it, before it gives up; a round marks only what is new.
pub const GC_ROUNDS_MAX: usize = 32;
/// Objects of the index that gc reads at a time: some 100 bytes each.
pub const GC_PAGE: u64 = 10_000;
/// Bytes of objects that gc reads at a time while it marks, and while it copies.
pub const GC_READ_BYTES: u64 = 16 * 1024 * 1024;
/// Times that gc locates an object anew because another gc moved it.
pub const GC_RELOCATE_MAX: usize = 3;
/// History rows that a report names for one workspace.
pub const GC_ROWS_SHOWN_MAX: usize = 1000;
/// Packs are copied unless at least this much of them is alive, in percent: on average half of what is read is freed.
pub const REPACK_BELOW_PERCENT: u8 = 50;
/// … and others until the garbage beside living objects is at most this much of what lives: half-dead packs alone would let
/// a bucket grow to twice its content, and with less than this gc would copy all the time.
pub const GARBAGE_PERCENT: u64 = 8;
/// … but no more at once than this much of what lives: until their grace period is over, packs lie beside their copies.
pub const COPIES_PERCENT: u64 = 8;
/// Living bytes that one run copies: some minutes on a near bucket; the next run goes on.
pub const REPACK_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Objects of the packs that one run copies or drops: some 100 bytes each in memory.
pub const REPACK_OBJECTS_MAX: u64 = 1_000_000;
/// Ref log objects that one run deletes: each is a request.
pub const REFLOG_DELETE_MAX: usize = 10_000;
/// The most that a rule of retention counts to: more would be no rule.
pub const RETENTION_KEEP_MAX: u64 = 1_000_000;
/// The longest time that a rule of retention keeps.
pub const RETENTION_WITHIN_MAX: Duration = Duration::from_secs(1000 * 366 * 24 * 3600);
/// Tags of one workspace: each keeps a snapshot for ever.
pub const TAGS_MAX: usize = 10_000;
/// An open publish that nobody has used for this long is forgotten; its holder may begin again.
pub const PUBLISH_IDLE: Duration = Duration::from_secs(15 * 60);
/// Times that check looks again because what it looked at changed meanwhile.
pub const CHECK_ROUNDS_MAX: usize = 3;
/// Largest content of a document: a skill or a memory is text that a model reads; a version is one row.
pub const DOCUMENT_MAX: usize = 1024 * 1024;
/// Longest path of a document in bytes; a segment has at most [`NAME_MAX`], as in the mount.
pub const DOCUMENT_PATH_MAX: usize = 1024;
/// Scopes of one view, and of one list of grants: an agent, a user, some teams and the organisation are a handful.
pub const SCOPES_MAX: usize = 16;
/// Longest author or tool call that a version carries, in bytes.
pub const ATTRIBUTION_MAX: usize = 1024;
/// Lines of each side of a three-way merge: the worst case takes the square of it, here some hundred milliseconds.
pub const MERGE_LINES_MAX: usize = 10_000;
/// Times that a three-way merge starts again because somebody was faster, before it counts as a conflict.
pub const MERGE_ROUNDS_MAX: usize = 8;
/// Documents that check reads at a time.
pub const CHECK_DOCUMENTS: u64 = 500;
/// A session whose owner has not been heard of for this long may be taken over: an owner speaks every ten seconds.
pub const SESSION_LEASE_TTL: Duration = Duration::from_secs(30);
/// Largest body of one event in bytes of JSON: a model's longest answer is some hundred KB, a tool's result is cut.
pub const EVENT_MAX: usize = 4 * 1024 * 1024;
/// Most events of one append: the calls of one answer, with room.
pub const EVENTS_PER_APPEND_MAX: usize = 256;
/// Most bytes of bodies of one append: it is one transaction, in memory.
pub const EVENTS_APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A page of events ends once its bodies have this many bytes, so that it has at most [`EVENT_MAX`] more.
pub const EVENTS_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Longest id of a tool call in bytes: those of models have some 30.
pub const TOOL_CALL_MAX: usize = 256;
/// Longest key of an event in bytes: a word and a tool call.
pub const EVENT_KEY_MAX: usize = 2 * TOOL_CALL_MAX;
/// Longest title of a session in bytes: a line that lists show.
pub const SESSION_TITLE_MAX: usize = 1024;
/// Longest description of who drives a session in bytes: `PID on HOST`.
pub const SESSION_OWNER_MAX: usize = 512;
/// News of appended events that wait for a slow follower; one that misses some reads the log anyway.
pub const SESSION_NEWS_MAX: usize = 1024;
/// Sessions in one answer.
pub const SESSIONS_MAX: u32 = 10_000;

/// A replaced file goes into the journal in records of this many bytes: as large as FUSE writes at most.
pub const REPLACE_RECORD: usize = 1024 * 1024;
/// Content in one request or answer of `files`; two digits a byte make it half of a control message.
pub const FILE_PIECE_MAX: usize = 256 * 1024;
/// Largest file that is written in one call: it is in memory once, and goes into the journal under the workspace's lock.
pub const FILE_WRITE_MAX: usize = 64 * 1024 * 1024;
/// Largest file that is edited: it is in memory twice, and is compared.
pub const FILE_EDIT_MAX: usize = 8 * 1024 * 1024;
/// Content that waits for its write, of all callers together: two of the largest files.
pub const UPLOADS_BYTES_MAX: usize = 2 * FILE_WRITE_MAX;
/// Content that nobody has added to or used for this long is dropped.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(60);
/// Symlinks followed on the way to one file: Linux's limit.
pub const SYMLINKS_MAX: usize = 40;
/// Longest path that is resolved, in bytes: Linux's `PATH_MAX`.
pub const PATH_MAX: usize = 4096;
/// Lines on both sides up to which an edit is compared line by line; the work grows with their product.
pub const DIFF_LINES_MAX: usize = 20_000;
/// Largest diff that an edit answers with, in bytes.
pub const DIFF_BYTES_MAX: usize = 512 * 1024;
/// Edits try again this often when the file changes under them.
pub const EDIT_ROUNDS_MAX: usize = 8;
/// Entries removed in one call; more are removed in the next.
pub const REMOVE_MAX: usize = 1_000_000;
/// Entries that one glob or grep looks at.
pub const WALK_ENTRIES_MAX: usize = 2_000_000;
/// Longest path that a glob or grep goes down to, in bytes; no program can name a longer one.
pub const WALK_PATH_MAX: usize = 4 * PATH_MAX;
/// How long a glob or grep may take: less than a caller waits.
pub const SEARCH_TIME: Duration = Duration::from_secs(25);
/// Globs and greps of one workspace that run at once; each takes a processor.
pub const SEARCHES_MAX: usize = 4;
/// Bytes of one answer; with it, a control message stays below its limit.
pub const FILES_ANSWER_MAX: usize = 2 * 1024 * 1024;
/// Largest ignore file that is taken: its patterns become automatons.
pub const IGNORE_FILE_MAX: usize = 128 * 1024;
/// Longest glob in bytes: a path has at most as many.
pub const GLOB_MAX: usize = 4096;
/// Alternatives (`{…}`) of a glob; the library goes down into those within each other by recursion.
pub const GLOB_ALTERNATIVES_MAX: usize = 32;
/// Globs of one search.
pub const GLOBS_MAX: usize = 100;
/// Longest pattern of a glob or grep, in bytes.
pub const PATTERN_MAX: usize = 64 * 1024;
/// Memory for one compiled pattern, as the regex crate has it by default.
pub const REGEX_SIZE_MAX: usize = 10 * 1024 * 1024;
/// Memory for one line, or for one file where a pattern goes over lines.
pub const SEARCH_HEAP_MAX: usize = 32 * 1024 * 1024;
/// Characters of a line that a grep answers with.
pub const GREP_LINE_MAX: usize = 2_000;
/// Lines of context around a match, on each side.
pub const GREP_CONTEXT_MAX: u32 = 1_000;
/// Files or lines of one glob or grep unless the caller says otherwise.
pub const SEARCH_DEFAULT: u32 = 1_000;
/// Most files or lines of one glob or grep.
pub const SEARCH_MAX: u32 = 10_000;
/// Most entries of one page of a directory.
pub const LIST_PAGE_MAX: u32 = 10_000;
/// Largest extended header of a tar archive: a path and all extended attributes fit.
pub const TAR_EXTENSION_MAX: u64 = 1024 * 1024;
/// Extended headers before one member of a tar archive: GNU tar writes two, PAX one of each kind.
pub const TAR_EXTENSIONS_MAX: usize = 8;
/// Pieces of data in one sparse file of a tar archive: 16 bytes each.
pub const TAR_SPARSE_MAX: usize = 256 * 1024;
/// Members of a tar archive; the tree that they make is built in memory. As many as half a publish may change.
pub const TAR_MEMBERS_MAX: u64 = 1_000_000;
/// Memory for the tree of a tar archive: names, nodes and short contents. Some 500,000 files.
pub const TAR_TREE_BYTES_MAX: u64 = 192 * 1024 * 1024;
/// Bytes of all files of a tar archive together, holes counted.
pub const TAR_BYTES_MAX: u64 = 1 << 44;
/// Window of a zstd stream that is read, as a power of two: 32 MiB, what level 19 and `--long=25` need at most.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 25;
/// A compressed archive may come to this many bytes for each of its own...
pub const UNPACK_RATIO_MAX: u64 = 1000;
/// ...once it has come to this many.
pub const UNPACK_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// What may follow the end of a tar archive: programs fill up their last record.
pub const TAR_TAIL_MAX: u64 = 1024 * 1024;
/// A ref that is restored or rebuilt gets an epoch this far above the highest that is known: attaches between two
/// publishes leave no trace in the bucket, and nobody attaches that often without publishing.
pub const EPOCH_GAP: u64 = 1 << 20;
/// A rebuilt counter of inode numbers starts this far above the highest that is known: holders and imports take numbers
/// before they publish them, an import at most [`INO_TAKE_MAX`] at once.
pub const INO_GAP: u64 = 16 * INO_TAKE_MAX;
/// Tree nodes that a walk over a whole snapshot reads ahead, and their bytes: a source tree of 20,000 files has some 4,000.
pub const TREES_AHEAD: usize = 8192;
/// See [`TREES_AHEAD`].
pub const TREES_AHEAD_BYTES: usize = 16 << 20;
