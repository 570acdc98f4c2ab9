//! Integration tests.

mod floors;
mod support;
