//! Only here so that cargo takes the folder for a package; the benchmark is `benches/judge.rs`.
