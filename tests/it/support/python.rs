//! Python programs from PyPI, in a virtual environment beside the build folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// A virtual environment with the packages of a requirements file. It is made once and kept between test runs.
pub(crate) struct PythonEnvironment(PathBuf);

impl PythonEnvironment {
    /// # Panics
    /// With the output of pip, if the packages cannot be installed.
    pub(crate) fn with(requirements: &Path) -> Self {
        let text = fs::read(requirements).expect("a requirements file");
        let hash =
            Sha256::digest(&text).iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{hash:012x}"));
        fs::create_dir_all(&folder).expect("a folder in the build folder");
        // One test makes it, others wait.
        let lock = File::create(folder.join("lock")).expect("a lock file");
        lock.lock().expect("the lock is free at some time");
        let complete = folder.join("complete");
        if !complete.exists() {
            let environment = folder.join("env");
            let _ = fs::remove_dir_all(&environment);
            run("python3", [OsStr::new("-m"), OsStr::new("venv"), environment.as_os_str()]);
            let pip = environment.join("bin/pip");
            run(&pip, [OsStr::new("install"), OsStr::new("-q"), OsStr::new("-r"), requirements.as_os_str()]);
            File::create(complete).expect("a mark");
        }
        Self(folder.join("env/bin"))
    }

    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        assert!(path.is_file(), "the packages have no program {name}");
        path
    }

    /// Runs one of its programs and returns its output.
    ///
    /// # Panics
    /// With all that it printed, if it fails.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> String {
        run(self.program(name), arguments)
    }
}

fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|cause| panic!("{} does not start: {cause}", program.display()));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} failed\n{stdout}\n{stderr}", program.display());
    stdout.into_owned()
}
