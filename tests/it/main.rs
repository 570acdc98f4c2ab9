//! Integration tests.

mod floors;
