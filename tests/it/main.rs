//! Integration tests.

mod floors;
mod lab;
mod profile;
mod readme;
mod support;
mod wire;
