//! The one public error of this crate.
//!
//! A kind says what a caller can do next, the context says what was being done, the source keeps the cause
//! (never shown to an HTTP client).

use std::error::Error as StdError;
use std::fmt;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named thing does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// Somebody was faster: read the fresh state and retry.
    Conflict,
    /// The lease has gone to another holder: stop.
    LeaseLost,
    /// The request is wrong: fix it.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// The operation needs an owner or capability that the caller lacks (EPERM, not EACCES).
    NotPermitted,
    /// A limit of Esker was reached.
    LimitExceeded,
    /// The directory is not empty.
    NotEmpty,
    /// A directory was needed.
    NotADirectory,
    /// Something other than a directory was needed.
    IsADirectory,
    /// The name or path is too long.
    NameTooLong,
    /// The file has no such extended attribute.
    NoAttribute,
    /// The answer does not fit into the caller's buffer.
    TooSmall,
    /// The file has too many hard links.
    TooManyLinks,
    /// The disk is full.
    NoSpace,
    /// The quota of a workspace or tenant is full.
    QuotaExceeded,
    /// The file would be too large.
    TooLarge,
    /// Something else uses it.
    Busy,
    /// The inode is no longer part of the workspace.
    Stale,
    /// Not offered here.
    Unsupported,
    /// Away for now: retry later.
    Unavailable,
    /// Stored bytes are not what they must be: stop and alarm.
    Corrupt,
    /// A bug in Esker.
    Internal,
}

impl Kind {
    /// The errno that a mount answers with.
    pub fn errno(self) -> i32 {
        use rustix::io::Errno;
        let errno = match self {
            Kind::NotFound => Errno::NOENT,
            Kind::AlreadyExists => Errno::EXIST,
            Kind::Conflict | Kind::LeaseLost | Kind::Unavailable | Kind::Corrupt | Kind::Internal => Errno::IO,
            Kind::Invalid => Errno::INVAL,
            Kind::Denied => Errno::ACCESS,
            Kind::NotPermitted => Errno::PERM,
            Kind::LimitExceeded | Kind::NoSpace => Errno::NOSPC,
            Kind::QuotaExceeded => Errno::DQUOT,
            Kind::NotEmpty => Errno::NOTEMPTY,
            Kind::NotADirectory => Errno::NOTDIR,
            Kind::IsADirectory => Errno::ISDIR,
            Kind::NameTooLong => Errno::NAMETOOLONG,
            Kind::NoAttribute => Errno::NODATA,
            Kind::TooSmall => Errno::RANGE,
            Kind::TooManyLinks => Errno::MLINK,
            Kind::TooLarge => Errno::FBIG,
            Kind::Busy => Errno::BUSY,
            Kind::Stale => Errno::STALE,
            Kind::Unsupported => Errno::OPNOTSUPP,
        };
        errno.raw_os_error()
    }

    /// The name used on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::AlreadyExists => "already_exists",
            Kind::Conflict => "conflict",
            Kind::LeaseLost => "lease_lost",
            Kind::Invalid => "invalid",
            Kind::Denied => "denied",
            Kind::NotPermitted => "not_permitted",
            Kind::LimitExceeded => "limit_exceeded",
            Kind::NotEmpty => "not_empty",
            Kind::NotADirectory => "not_a_directory",
            Kind::IsADirectory => "is_a_directory",
            Kind::NameTooLong => "name_too_long",
            Kind::NoAttribute => "no_attribute",
            Kind::TooSmall => "too_small",
            Kind::TooManyLinks => "too_many_links",
            Kind::NoSpace => "no_space",
            Kind::QuotaExceeded => "quota_exceeded",
            Kind::TooLarge => "too_large",
            Kind::Busy => "busy",
            Kind::Stale => "stale",
            Kind::Unsupported => "unsupported",
            Kind::Unavailable => "unavailable",
            Kind::Corrupt => "corrupt",
            Kind::Internal => "internal",
        }
    }

    /// Every kind, for total maps and their tests.
    pub const ALL: [Kind; 24] = [
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Conflict,
        Kind::LeaseLost,
        Kind::Invalid,
        Kind::Denied,
        Kind::NotPermitted,
        Kind::LimitExceeded,
        Kind::NotEmpty,
        Kind::NotADirectory,
        Kind::IsADirectory,
        Kind::NameTooLong,
        Kind::NoAttribute,
        Kind::TooSmall,
        Kind::TooManyLinks,
        Kind::NoSpace,
        Kind::QuotaExceeded,
        Kind::TooLarge,
        Kind::Busy,
        Kind::Stale,
        Kind::Unsupported,
        Kind::Unavailable,
        Kind::Corrupt,
        Kind::Internal,
    ];

    /// The kind with this wire name.
    pub fn from_wire(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An error with what can be done about it, what was being done, and why it failed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause.
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Error { kind, context: context.into(), source: None }
    }

    /// The same error with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An input/output error; the kind follows from its errno.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => Kind::NotFound,
            Io::AlreadyExists => Kind::AlreadyExists,
            Io::PermissionDenied => Kind::Denied,
            Io::StorageFull | Io::QuotaExceeded => Kind::NoSpace,
            Io::NotADirectory => Kind::NotADirectory,
            Io::IsADirectory => Kind::IsADirectory,
            Io::DirectoryNotEmpty => Kind::NotEmpty,
            Io::InvalidInput => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Error::new(kind, context).because(source)
    }

    /// Stored bytes that fail their check.
    pub fn corrupt(context: impl Into<String>) -> Self {
        Error::new(Kind::Corrupt, context)
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was being done; fit for users.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Context and all causes on one line, for logs.
    pub fn chain(&self) -> String {
        let mut line = self.context.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
