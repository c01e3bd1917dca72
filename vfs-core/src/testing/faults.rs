//! The twelve kinds of fault, the rules that say which call meets which, and the counters that say which did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use object_store::path::Path;
use parking_lot::Mutex;

use super::chance::Random;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Others get many turns before the call goes on.
    Delay,
    /// An error, and nothing was done.
    ErrorBefore,
    /// An error, although it was done. A list gives some of its entries first.
    ErrorAfter,
    /// An upload is cut: an error, and nothing is there but what a local folder has staged.
    Torn,
    /// The request arrives twice; the answer is the second one's.
    Duplicate,
    /// A list does not show the newest changes.
    StaleList,
    /// A list silently lacks some of its entries.
    MissingPage,
    /// A body comes in small pieces, with others in between.
    SlowBody,
    /// 503, for a while if the rule is a burst.
    Busy503,
    /// A body with a flipped bit, without its end, or of another object.
    WrongBytes,
    /// The credentials are not enough.
    Denied,
    /// No answer after a long time; whether it was done depends.
    Timeout,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 12] = [
        Fault::Delay,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::Torn,
        Fault::Duplicate,
        Fault::StaleList,
        Fault::MissingPage,
        Fault::SlowBody,
        Fault::Busy503,
        Fault::WrongBytes,
        Fault::Denied,
        Fault::Timeout,
    ];

    /// Whether this can happen to such a call.
    pub fn fits(self, operation: Operation) -> bool {
        use Operation::{Complete, Delete, Get, List, Part, Put, Range};
        match self {
            Fault::Torn => matches!(operation, Put | Part | Complete),
            Fault::Duplicate => matches!(operation, Put | Complete | Delete),
            Fault::StaleList | Fault::MissingPage => operation == List,
            Fault::SlowBody | Fault::WrongBytes => matches!(operation, Get | Range),
            _ => true,
        }
    }
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Stores a whole object.
    Put,
    /// Starts an upload in parts.
    Start,
    /// Sends one part of it.
    Part,
    /// Ends it.
    Complete,
    /// Reads a whole object.
    Get,
    /// Reads a part of one.
    Range,
    /// Asks whether one is there.
    Head,
    /// Lists a folder.
    List,
    /// Removes one.
    Delete,
    /// Copies or renames one.
    Copy,
}

/// A call site as far as the bucket can see: what is done, to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// What is done.
    pub operation: Operation,
    /// What kind of object it is done to: `pack`, `ref log`, `config`, `probe` or `other`.
    pub object: &'static str,
}

impl Site {
    pub(super) fn new(operation: Operation, path: &Path) -> Site {
        let path = path.as_ref();
        let has = |part: &str| path.split('/').any(|found| found == part);
        let object = match path {
            _ if has("packs") => "pack",
            _ if has("reflog") => "ref log",
            _ if has("owner") => "owner",
            _ if has("bundles") => "bundle",
            "config.json" => "config",
            _ if path.starts_with("probe") => "probe",
            _ => "other",
        };
        Site { operation, object }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.operation, self.object)
    }
}

/// Which of the calls that a rule looks at meet its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The n-th, from 0.
    Nth(u64),
    /// So many, from the n-th on.
    Burst {
        /// The first one, from 0.
        from: u64,
        /// How many.
        count: u64,
    },
    /// So many of a hundred, by chance.
    Percent(u64),
    /// All.
    Always,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// With which operation; `None` means any that the fault fits.
    pub operation: Option<Operation>,
    /// With which kind of object; `None` means any.
    pub object: Option<&'static str>,
    /// With which of these calls.
    pub when: When,
}

impl Rule {
    /// A rule for one call site.
    pub fn at(fault: Fault, site: Site, when: When) -> Rule {
        Rule { fault, operation: Some(site.operation), object: Some(site.object), when }
    }

    /// A rule for every call that the fault fits.
    pub fn anywhere(fault: Fault, when: When) -> Rule {
        Rule { fault, operation: None, object: None, when }
    }

    fn looks_at(&self, site: Site) -> bool {
        self.fault.fits(site.operation)
            && self.operation.is_none_or(|operation| operation == site.operation)
            && self.object.is_none_or(|object| object == site.object)
    }
}

/// The rules of a bucket and what came of them.
#[derive(Debug)]
pub struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Each with the number of calls that it has looked at.
    rules: Vec<(Rule, u64)>,
    random: Random,
    met: BTreeMap<(Fault, Site), u64>,
    calls: BTreeMap<Site, u64>,
}

impl Faults {
    /// No rules; chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        let (met, calls) = (BTreeMap::new(), BTreeMap::new());
        Faults(Mutex::new(State { rules: Vec::new(), random: Random::new(seed), met, calls }))
    }

    /// These rules from now on; the first that fits a call decides.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        self.0.lock().rules = rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// How often each fault was met, by call site.
    pub fn met(&self) -> BTreeMap<(Fault, Site), u64> {
        self.0.lock().met.clone()
    }

    /// How many faults were met.
    pub fn count(&self) -> u64 {
        self.0.lock().met.values().sum()
    }

    /// The calls there were, by call site.
    pub fn calls(&self) -> BTreeMap<Site, u64> {
        self.0.lock().calls.clone()
    }

    /// The call sites there were.
    pub fn sites(&self) -> BTreeSet<Site> {
        self.0.lock().calls.keys().copied().collect()
    }

    /// What this call meets.
    pub(super) fn choose(&self, site: Site) -> Option<Fault> {
        let mut state = self.0.lock();
        let State { rules, random, met, calls } = &mut *state;
        *calls.entry(site).or_default() += 1;
        let mut chosen = None;
        for (rule, seen) in rules.iter_mut().filter(|(rule, _)| rule.looks_at(site)) {
            let hit = match rule.when {
                When::Nth(number) => *seen == number,
                When::Burst { from, count } => (from..from.saturating_add(count)).contains(seen),
                When::Percent(percent) => random.percent(percent),
                When::Always => true,
            };
            *seen += 1;
            if hit && chosen.is_none() {
                chosen = Some(rule.fault);
            }
        }
        if let Some(fault) = chosen {
            *met.entry((fault, site)).or_default() += 1;
        }
        chosen
    }

    /// A number below `limit`, by chance.
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.0.lock().random.below(limit)
    }
}
