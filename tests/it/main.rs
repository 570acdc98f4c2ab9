//! Integration tests.

mod floors;
mod support;
mod wire;
