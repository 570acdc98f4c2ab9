//! Integration tests.

mod floors;
mod readme;
mod support;
mod wire;
