//! Integration tests.

mod floors;
mod ladder;
mod readme;
mod support;
mod wire;
