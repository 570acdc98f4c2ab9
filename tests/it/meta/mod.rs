//! The repository checked against itself: layers and documents.

mod circles;
mod docs;
mod floors;
mod outputs;
mod terminal;
mod words;
