//! Benches of the code without I/O, one file per part. `results.py` writes the table.

mod cookies;
mod detect;
mod dialect;
mod headers;
mod policy;
mod robots;
mod target;

use criterion::{criterion_group, criterion_main};

criterion_group! {
    name = pure;
    config = pure_bench::criterion();
    targets =
        detect::sizes,
        detect::corpus,
        policy::fetches,
        dialect::render,
        headers::build,
        cookies::lookup,
        cookies::storing,
        robots::rules,
        target::resolve
}
criterion_main!(pure);
