//! `esker completion`: the script that teaches a shell our commands.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::Outcome;
use crate::print::Printer;

/// Prints the script.
pub(crate) fn run(printer: Printer, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "esker", &mut script);
    printer.bytes(&script)
}
