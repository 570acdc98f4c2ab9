//! The repository checked against itself: layers and documents.

mod floors;
mod readme;
