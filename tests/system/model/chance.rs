//! Repeatable chance: SplitMix64 (Steele, Lea, Flood 2014). One seed, one sequence, on every machine.

/// A seeded source of choices.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// The sequence of this seed.
    pub(crate) fn new(seed: u64) -> Chance {
        Chance { seed, state: seed }
    }

    /// The seed it began with.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// True in `percent` of 100.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64) as usize;
        from[index].clone()
    }
}

/// The seed of this run: `ESKER_SEED`, else the given one. Printed, so that a failure can be replayed.
pub(crate) fn seed_or(default: u64) -> u64 {
    let seed = std::env::var("ESKER_SEED").ok().map_or(default, |text| text.parse().expect("ESKER_SEED is a number"));
    println!("seed {seed}: replay with ESKER_SEED={seed}");
    seed
}

/// How many operations: `ESKER_OPERATIONS`, else the given number.
pub(crate) fn operations_or(default: u64) -> u64 {
    std::env::var("ESKER_OPERATIONS").ok().map_or(default, |text| text.parse().expect("ESKER_OPERATIONS is a number"))
}
