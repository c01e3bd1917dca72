//! Progress bars on long work, only where a person sees them: standard error is a terminal and JSON is not asked for.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::print::Printer;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// A bar, or a spinner while the total is unknown; or nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts to show that `work` is under way.
    pub(crate) fn start(printer: Printer, work: &str) -> Progress {
        if printer.is_json() || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(style("{spinner} {prefix} {human_pos} {msg} ({elapsed})"));
        bar.set_prefix(work.to_owned());
        bar.enable_steady_tick(TICK);
        Progress { bar }
    }

    /// So far it has come.
    pub(crate) fn report(&self, what: &str, done: u64, total: Option<u64>) {
        if let Some(total) = total.filter(|total| self.bar.length() != Some(*total)) {
            self.bar.set_length(total);
            self.bar.set_style(style("{spinner} {prefix} [{bar:30}] {human_pos}/{human_len} {msg} ({eta})"));
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("because the templates above are constant and sound")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_sound_and_hidden_bars_are_silent() {
        let progress = Progress::start(Printer::new(true), "work");
        progress.report("files", 1, None);
        progress.report("files", 2, Some(10));
        assert!(progress.bar.is_hidden());
        let _ = style("{spinner} {prefix} {human_pos} {msg} ({elapsed})");
    }
}
