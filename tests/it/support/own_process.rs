//! Runs a test as a process of its own.

use std::process::{Command, Stdio};

/// Runs the ignored test `name` of `module` (its `module_path!()`) through `wrapper`, a command that executes its
/// last arguments. Panics with the output when the test fails.
#[track_caller]
pub(crate) fn run_ignored_test(mut wrapper: Command, module: &str, name: &str) {
    let me = std::env::current_exe().expect("this test has a name");
    let (_, module) = module.split_once("::").expect("a module of this crate");
    let test = format!("{module}::{name}");
    let out = wrapper
        .arg(me)
        .args(["--exact", test.as_str(), "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .expect("the wrapper starts");
    let printed =
        format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && printed.contains("1 passed"), "{test}:\n{printed}");
}
