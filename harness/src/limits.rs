//! The limits of the harness, each with its reason.

use std::time::Duration;

/// Turns of one run unless the caller says otherwise: more than any task that goes well needs.
pub const TURNS_MAX: u64 = 200;
/// Tool calls of one answer that are run; the model is told about the others.
pub const CALLS_MAX: usize = 64;
/// The same call with the same error so many times in a row is a loop: nothing new will come of it.
pub const LOOP_MAX: usize = 5;
/// Answers in a row that were cut off before they asked for anything: the limit of output tokens is too low for the task.
pub const CUT_ANSWERS_MAX: usize = 3;
/// Output tokens that are asked for: what every present model allows.
pub const OUTPUT_TOKENS: u64 = 32_000;

/// Largest answer of a model, as it comes: with its escapes it must fit an event of 4 MiB.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest line of an answer's stream: the parser reads a line anew with each part of it.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Largest content of an answer that is kept: an event holds 4 MiB.
pub const CONTENT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Blocks of one answer: an index beyond it is nonsense.
pub const BLOCKS_MAX: usize = 1_000;
/// Deepest nesting of a tool's input: no schema of ours needs more than three levels.
pub const DEPTH_MAX: usize = 64;
/// Largest result of a tool that is kept; the tools cut theirs far below. With its escapes it fits an event of 4 MiB.
pub const RESULT_BYTES_MAX: usize = 600 * 1024;
/// Bytes of an error of the model's server that are shown.
pub const ERROR_TEXT_MAX: usize = 500;
/// Bytes of an error's body that are read.
pub const ERROR_BODY_MAX: usize = 64 * 1024;

/// Times that a request is sent before the model counts as away: with the pauses below, some three minutes.
pub const TRIES_MAX: usize = 10;
/// First pause before a request to the model is sent again; it doubles.
pub const MODEL_PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause of our own choice.
pub const MODEL_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a model's server may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// A model that has sent no byte for so long is away: pings come every few seconds.
pub const SILENCE_MAX: Duration = Duration::from_secs(180);
/// How long a connection to the model may take to come up.
pub const MODEL_CONNECT: Duration = Duration::from_secs(20);

/// The lease is renewed this often: a third of its life.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(10);
/// How long a lease may take to run out whose owner cannot be shown to be dead: its life and a little.
pub const LEASE_PATIENCE: Duration = Duration::from_secs(35);
/// How often it is looked at meanwhile.
pub const LEASE_POLL: Duration = Duration::from_secs(1);
/// How long an engine or a mount may be away before the run stops.
pub const ENGINE_PATIENCE: Duration = Duration::from_secs(120);
/// First pause before something of the engine's is asked for again; it doubles.
pub const ENGINE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause.
pub const ENGINE_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Events that are read at once.
pub const EVENTS_PAGE: u32 = 500;
