//! The environment of the programs that rungs starts. Theirs is not ours: it may hold passwords and cloud keys.

use std::process::Command;

/// Clears the environment of `command`, except for the variables in [`PASSED`]. Variables that the caller sets
/// afterwards are added to those.
pub(crate) fn restrict_environment(command: &mut Command) {
    command.env_clear();
    let names = PASSED.iter().flat_map(|list| list.split_ascii_whitespace());
    command.envs(names.filter_map(|name| Some((name, std::env::var_os(name)?))));
}

/// Names that a browser, its display or a tool needs. A whole prefix such as `LC_*` is never passed: `ssh` lets a
/// client choose such names, and programs keep secrets in them. Proxies are not passed, because their URLs contain
/// passwords and the browser gets its proxy from rungs.
const PASSED: [&str; 9] = [
    // The user and the folders. Fonts, certificates and policies are found through them.
    "HOME USER LOGNAME PATH SHELL TMPDIR PWD",
    "XDG_CACHE_HOME XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_DATA_HOME XDG_DATA_DIRS XDG_STATE_HOME XDG_RUNTIME_DIR",
    // Language and time.
    "LANG LANGUAGE LC_ALL LC_ADDRESS LC_COLLATE LC_CTYPE LC_IDENTIFICATION LC_MEASUREMENT LC_MESSAGES LC_MONETARY",
    "LC_NAME LC_NUMERIC LC_PAPER LC_TELEPHONE LC_TIME LOCPATH LOCALE_ARCHIVE TZ TZDIR",
    // The display, the session and the toolkit of a window.
    "DISPLAY WAYLAND_DISPLAY XAUTHORITY XCURSOR_THEME XCURSOR_SIZE DESKTOP_SESSION XDG_CURRENT_DESKTOP \
     XDG_SESSION_TYPE XDG_SESSION_ID XDG_SEAT XDG_VTNR DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS \
     GDK_BACKEND GDK_SCALE GDK_DPI_SCALE GTK_THEME",
    // Fonts.
    "FONTCONFIG_FILE FONTCONFIG_PATH FONTCONFIG_SYSROOT FREETYPE_PROPERTIES",
    // Graphics drivers.
    "LIBGL_ALWAYS_SOFTWARE LIBGL_DRIVERS_PATH GALLIUM_DRIVER MESA_LOADER_DRIVER_OVERRIDE MESA_GL_VERSION_OVERRIDE \
     VK_DRIVER_FILES VK_ICD_FILENAMES VK_LAYER_PATH DRI_PRIME __GLX_VENDOR_LIBRARY_NAME \
     __EGL_VENDOR_LIBRARY_FILENAMES __EGL_VENDOR_LIBRARY_DIRS",
    // The dynamic linker. Without LD_PRELOAD, a browser would leave a wrapper such as torsocks.
    "LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH __CF_USER_TEXT_ENCODING",
    // The browser's own: its sandbox helper, and the switches that a distribution's wrapper script reads.
    "CHROME_DEVEL_SANDBOX CHROMIUM_FLAGS SNAP SNAP_NAME SNAP_REVISION FLATPAK_ID",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_only_the_listed_variables_and_those_set_later() {
        let mut command = Command::new("/usr/bin/env");
        command.env("RUNGS_PROXY_PASSWORD", "hunter2");
        restrict_environment(&mut command);
        command.env("GIVEN", "1");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(names.contains(&"PATH") && names.contains(&"GIVEN"), "{names:?}");
        let passed: Vec<&str> = PASSED.iter().flat_map(|list| list.split_ascii_whitespace()).collect();
        for name in names.iter().filter(|name| **name != "GIVEN") {
            assert!(passed.contains(name), "{name}");
        }
    }

    #[test]
    fn no_listed_name_is_one_of_a_secret() {
        for name in PASSED.iter().flat_map(|list| list.split_ascii_whitespace()) {
            for word in ["PASS", "SECRET", "TOKEN", "KEY", "PROXY", "CREDENTIAL", "RUNGS", "AUTH_SOCK"] {
                assert!(!name.contains(word), "{name}");
            }
        }
    }
}
