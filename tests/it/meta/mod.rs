//! The repository checked against itself: layers and documents.

mod docs;
mod floors;
mod words;
