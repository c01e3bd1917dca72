//! What is said to a model and heard from it: Anthropic Messages (decision 0014).
//!
//! | file | what |
//! |---|---|
//! | `settings` | where the model is and what opens it, from the environment |
//! | `request` | the body of a request, from values of the turn log only |
//! | `stream` | server-sent events, put together into an answer |
//! | `answer` | a whole answer: raw blocks, stop reason, usage |
//! | `model` | one request over HTTP, and what its failure means |
//!
//! Keeps true: the same log gives the same bytes; an answer counts when `message_stop` has come; the key is in the
//! headers of a request and nowhere else.

mod answer;
mod model;
mod request;
mod settings;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use model::{Fault, Model};
pub(crate) use request::text_block;
pub use request::{Message, Prompt, Role};
pub use settings::Settings;
