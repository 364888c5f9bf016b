//! How often the interesting things have come about.

/// What was seen on the way, for the statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) inputs: u64,
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) completed: u64,
    pub(crate) latched: u64,
    pub(crate) locks: u64,
    pub(crate) steps: u64,
    pub(crate) undone: u64,
    pub(crate) broken: u64,
    pub(crate) ponrs: u64,
    pub(crate) whole: u64,
    pub(crate) excused: u64,
    pub(crate) removed: u64,
    pub(crate) gone: u64,
    pub(crate) returned: u64,
    pub(crate) crossed: u64,
    pub(crate) came_back: u64,
    pub(crate) outdated: u64,
    pub(crate) outrun: u64,
    pub(crate) silent: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.accepted += other.accepted;
        self.open += other.open;
        self.completed += other.completed;
        self.latched += other.latched;
        self.locks += other.locks;
        self.steps += other.steps;
        self.undone += other.undone;
        self.broken += other.broken;
        self.ponrs += other.ponrs;
        self.whole += other.whole;
        self.excused += other.excused;
        self.removed += other.removed;
        self.gone += other.gone;
        self.returned += other.returned;
        self.crossed += other.crossed;
        self.came_back += other.came_back;
        self.outdated += other.outdated;
        self.outrun += other.outrun;
        self.silent += other.silent;
    }
}
