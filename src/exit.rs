//! Exit codes of the command, and the failure that carries one (decision 0009).
//!
//! The map from error kinds is total: a new kind does not compile until it has a code.

use std::process::ExitCode;

use vfs_core::{Error, Kind};

/// What the shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// An error of none of the kinds below.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Somebody else has it or was faster.
    Busy = 4,
    /// Not allowed.
    Denied = 5,
    /// Engine, bucket or FUSE are away.
    Unavailable = 6,
    /// Damage was found that hits stored data.
    Damaged = 7,
    /// Disk or quota are full; from `check`: damage was found that hits nothing (decision 0018).
    Full = 8,
    /// A newer version is needed.
    Newer = 10,
}

impl Code {
    /// Damage that hits nothing: a pack or a row that nothing reaches. The number has two meanings; only `check` gives it
    /// this one, and its report says which.
    pub(crate) const HITS_NOTHING: Code = Code::Full;

    /// The code for an error of this kind.
    pub(crate) fn of(kind: Kind) -> Code {
        match kind {
            Kind::NotFound | Kind::NoAttribute => Code::NotFound,
            Kind::Conflict | Kind::LeaseLost | Kind::Busy | Kind::AlreadyExists | Kind::Stale => Code::Busy,
            Kind::Invalid | Kind::NameTooLong => Code::Usage,
            Kind::Denied | Kind::NotPermitted => Code::Denied,
            Kind::Unavailable => Code::Unavailable,
            Kind::Corrupt => Code::Damaged,
            Kind::NoSpace | Kind::QuotaExceeded => Code::Full,
            Kind::LimitExceeded
            | Kind::NotEmpty
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::TooSmall
            | Kind::TooManyLinks
            | Kind::TooLarge
            | Kind::Unsupported
            | Kind::Internal => Code::Failed,
        }
    }

    /// The code with this number; an unknown one counts as [`Code::Failed`].
    pub(crate) fn from_number(number: u8) -> Code {
        let all = [
            Code::Usage,
            Code::NotFound,
            Code::Busy,
            Code::Denied,
            Code::Unavailable,
            Code::Damaged,
            Code::Full,
            Code::Newer,
        ];
        all.into_iter().find(|code| *code as u8 == number).unwrap_or(Code::Failed)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command failed: the line for the user, and the code for the shell.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code for the shell.
    pub code: Code,
    /// The error for the user.
    pub error: Error,
}

/// What a command gives back.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of a kind, with its line.
    pub(crate) fn new(kind: Kind, line: impl Into<String>) -> Failure {
        Error::new(kind, line).into()
    }

    /// Something was written by a newer version, or the engine is of another one.
    pub(crate) fn newer(line: impl Into<String>) -> Failure {
        Failure { code: Code::Newer, error: Error::new(Kind::Unsupported, line) }
    }

    /// What the caller can do.
    pub(crate) fn kind(&self) -> Kind {
        self.error.kind()
    }

    /// One line with the causes. A cause that the line already tells is left out.
    pub(crate) fn line(&self) -> String {
        let mut line = self.error.context().to_owned();
        let mut cause = std::error::Error::source(&self.error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line.replace(['\n', '\r'], " ")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { code: Code::of(error.kind()), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_decision() {
        let expected = [
            (Kind::NotFound, 3),
            (Kind::Conflict, 4),
            (Kind::Busy, 4),
            (Kind::LeaseLost, 4),
            (Kind::Invalid, 2),
            (Kind::Denied, 5),
            (Kind::Unavailable, 6),
            (Kind::Corrupt, 7),
            (Kind::NoSpace, 8),
            (Kind::QuotaExceeded, 8),
            (Kind::Internal, 1),
        ];
        for (kind, number) in expected {
            assert_eq!(Code::of(kind) as u8, number, "{kind:?}");
        }
        assert_eq!(Failure::newer("x").code as u8, 10);
    }

    #[test]
    fn a_code_survives_its_number() {
        for kind in Kind::ALL {
            assert_eq!(Code::from_number(Code::of(kind) as u8), Code::of(kind));
        }
        assert_eq!(Code::from_number(10), Code::Newer);
        assert_eq!(Code::from_number(99), Code::Failed);
    }

    #[test]
    fn the_line_is_one_line() {
        let failure: Failure = Error::new(Kind::Denied, "a\nb").because("c\nd").into();
        assert_eq!(failure.line(), "a b: c d");
        let failure: Failure = Error::new(Kind::Busy, "x is in use by y").because("x is in use").into();
        assert_eq!(failure.line(), "x is in use by y");
    }
}
