//! The limits of the tools and of the sandbox, each with its reason.

use std::time::Duration;

/// Largest file that Read shows without `limit`: as the models know it.
pub(crate) const READ_BYTES_MAX: u64 = 256 * 1024;
/// Most tokens that one Read shows, as the models know it.
pub(crate) const READ_TOKENS_MAX: usize = 25_000;
/// Bytes of text that are taken for one token. Counting them truly costs a request to the model's server.
pub(crate) const BYTES_PER_TOKEN: usize = 4;
/// Files up to this size are read whole, so that their digest is known; larger ones in pieces until the lines are there.
pub(crate) const WHOLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// One piece of a large file.
pub(crate) const PIECE_BYTES: u64 = 1024 * 1024;
/// Largest file that Edit takes: it is compared here before the holder changes it.
pub(crate) const EDIT_BYTES_MAX: u64 = vfs_core::limits::FILE_EDIT_MAX as u64;

/// Paths that Glob shows, as the models know it.
pub(crate) const GLOB_MAX: usize = 100;
/// Most that the engine is asked for in one search, which is the most it gives.
pub(crate) const SEARCH_MAX: u32 = 10_000;
/// Lines or paths that Grep shows unless asked, as the models know it.
pub(crate) const GREP_LINES: usize = 250;
/// A line of so many bytes, its end counted, is not shown by Grep.
pub(crate) const GREP_LINE_BYTES: usize = 500;
/// Largest answer of Grep in characters; more goes to a file.
pub(crate) const GREP_CHARACTERS_MAX: usize = 20_000;

/// Largest answer of Bash in characters; more goes to a file.
pub(crate) const BASH_CHARACTERS_MAX: usize = 30_000;
/// What is shown of each end of the output of a command that failed, if it is too long.
pub(crate) const BASH_END_CHARACTERS: usize = 5_000;
/// What is shown of an answer that went to a file.
pub(crate) const PREVIEW_CHARACTERS: usize = 2_000;
/// How long a command may run unless asked, as the models know it.
pub(crate) const BASH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may run at most.
pub(crate) const BASH_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Longest command: it travels in a file, so that this is a choice; a megabyte is a whole file in a heredoc.
pub(crate) const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// So much of a command's output is kept; the rest is read and dropped, so that a talkative command ends and the disk lasts.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Processes and threads of one command; a build has some hundreds, a fork bomb more at once.
pub(crate) const TASKS_MAX: u64 = 2_000;
/// Open files of each process of a command.
pub(crate) const OPEN_FILES_MAX: u64 = 16_384;
/// Size of the sandbox's `/tmp` and of its `/run`: it is memory.
pub(crate) const TMP_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Where the kernel refuses more: above what the runner ends a command for, so that it says why.
pub(crate) const TASKS_KERNEL_MAX: u64 = TASKS_MAX + 500;
/// How often the runner looks at the time and at the number of processes: a fork bomb makes a few hundred meanwhile.
pub(crate) const WATCH_TICK: Duration = Duration::from_millis(50);
/// How long the output of a command that has ended may take to come: its processes are being killed.
pub(crate) const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than the command the harness waits for the runner: it syncs what it wrote.
pub(crate) const RUNNER_GRACE: Duration = Duration::from_secs(60);
/// How often the harness looks whether a runner that it did not start has ended.
pub(crate) const RUNNER_POLL: Duration = Duration::from_millis(25);
/// Longest path of a current directory that is believed.
pub(crate) const CWD_BYTES_MAX: u64 = 4096;

/// How long `esker mount` may take: it replays the journal first.
pub(crate) const MOUNT_PATIENCE: Duration = Duration::from_secs(150);
/// How long a mount may take to answer a `stat`: a miss has 30 s, its root is never one.
pub(crate) const MOUNT_ANSWER: Duration = Duration::from_secs(10);

/// Largest front matter that is understood; a description has a kilobyte.
pub(crate) const FRONT_MATTER_BYTES_MAX: usize = 16 * 1024;
/// Most parts of it that are read again through references.
pub(crate) const FRONT_MATTER_REPLAYED_MAX: usize = 1_000;
/// Most skills that are listed: the list is in every request.
pub(crate) const SKILLS_MAX: usize = 200;
/// Longest description of a skill in the list, in characters, as the models know it.
pub(crate) const SKILL_LINE_CHARACTERS: usize = 1_536;
