//! What tables hold: counted and summed up in pieces, so that neither side notices, and so that two servers can be compared without
//! carrying their rows over.

pub(super) mod listing;
mod piece;
mod sum;
pub(super) mod table;

pub(super) use piece::{Cursor, Pace, Piece};
pub(crate) use sum::Sum;
pub(super) use table::{Column, Table, hash as hash_of};
