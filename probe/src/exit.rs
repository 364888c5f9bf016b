//! The exit codes of `cutover`, the same in every output format: code, help and docs use this table.

/// One exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The process's exit status.
    pub code: u8,
    /// Its name in machine-readable output.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

macro_rules! exits {
    ($($(#[$doc:meta])* $ident:ident = $code:literal, $name:literal, $meaning:literal;)*) => {
        impl Exit {
            $($(#[$doc])* #[doc = $meaning] pub const $ident: Self = Self { code: $code, name: $name, meaning: $meaning };)*
            /// All of them, by code.
            pub const ALL: &[Self] = &[$(Self::$ident),*];
        }
    };
}

exits! {
    OPEN = 0, "open", "open, or done";
    CLOSED = 1, "closed", "closed: something is wrong, or it is not this phase's turn";
    USAGE = 2, "usage", "wrong usage or configuration";
    UNKNOWN = 3, "unknown", "unknown: no fresh evidence";
    AUTH = 4, "auth", "not authenticated, or not allowed";
    MOVED = 5, "moved", "the lock is held, or the state changed since the plan";
    PENDING = 8, "pending", "pending: nothing is wrong, the soak is not served yet";
    ROLLED_BACK = 10, "rolled_back", "a step failed, everything was taken back";
    UNREACHABLE = 11, "unreachable", "the verifier can not be reached, or does not answer as one";
    INCOMPLETE = 12, "incomplete", "a step failed, and it could not all be taken back: somebody must look";
    NOT_FOUND = 13, "not_found", "no such phase, probe or object";
    TIMEOUT = 124, "timeout", "`--timeout` ran out";
    INTERRUPTED = 130, "interrupted", "interrupted";
}
