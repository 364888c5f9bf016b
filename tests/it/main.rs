//! Is it true? One test binary; each module asks one question.

mod bench;
