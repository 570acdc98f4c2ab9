//! Asks for the password of `-u USER` on the terminal, which does not show it.

use std::fs::File;
use std::io::{self, Read, Write};

use rungs::redact;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::args::AuthenticationArgs;
use super::exit::Failure;

/// Adds the password to a user without one.
pub(crate) fn complete(args: &mut AuthenticationArgs) -> Result<(), Failure> {
    let Some(user) = args.user.as_ref().filter(|text| !text.contains(':')) else { return Ok(()) };
    let shown = redact::escape_terminal(user);
    let no_terminal = |cause: io::Error| {
        Failure::Usage(format!(
            "-u/--user: could not ask for the password of `{user}` on a terminal ({cause}): write `USER:PASSWORD`, or \
             `USER:` for an empty password"
        ))
    };
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let question = format!("Enter host password for user '{shown}': ");
    let line = HiddenInput::start(&terminal).and_then(|input| input.ask(&question));
    let _ = (&terminal).write_all(b"\n");
    let Some(line) = line.map_err(no_terminal)? else {
        return Err(Failure::Interrupted("interrupted while asking for a password".to_owned()));
    };
    let password = String::from_utf8(line)
        .map_err(|_| Failure::Usage("-u/--user: the password is not UTF-8".to_owned()))?;
    args.user = Some(format!("{user}:{password}"));
    Ok(())
}

/// A terminal that does not show its input. Dropping it restores the terminal.
struct HiddenInput<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn start(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Keys such as Ctrl-C arrive as characters, so that the terminal is restored first.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }

    /// Reads the line that answers `question`. `None` if the user interrupts it.
    fn ask(&self, question: &str) -> io::Result<Option<Vec<u8>>> {
        let mut terminal = self.terminal;
        terminal.write_all(question.as_bytes())?;
        let mut line = LineEditor::default();
        #[expect(clippy::unbuffered_bytes, reason = "what is typed after the line is for the next program")]
        for byte in self.terminal.bytes() {
            match line.push(byte?) {
                Key::Continue => {}
                Key::End => return Ok(Some(line.text)),
                Key::Interrupt => return Ok(None),
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// What a key does.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Continue,
    End,
    Interrupt,
}

/// The keys of a terminal's line.
#[derive(Default)]
struct LineEditor {
    text: Vec<u8>,
}

impl LineEditor {
    fn push(&mut self, byte: u8) -> Key {
        match byte {
            b'\n' | b'\r' => return Key::End,
            CTRL_C | CTRL_BACKSLASH => return Key::Interrupt,
            CTRL_D if self.text.is_empty() => return Key::Interrupt,
            CTRL_D => return Key::End,
            CTRL_U => self.text.clear(),
            BACKSPACE | DELETE => {
                // One character of UTF-8.
                while self.text.pop().is_some_and(|removed| removed & 0xc0 == 0x80) {}
            }
            _ if self.text.len() < MAX_BYTES => self.text.push(byte),
            _ => {}
        }
        Key::Continue
    }
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const CTRL_BACKSLASH: u8 = 28;
const DELETE: u8 = 127;
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_the_line() {
        for (keys, text, end) in [
            ("secret\n", "secret", Key::End),
            ("secret\r", "secret", Key::End),
            ("x\u{7f}\u{7f}a\u{e9}\u{8}b\n", "ab", Key::End),
            ("wrong\u{15}right\n", "right", Key::End),
            ("a:b c\u{4}", "a:b c", Key::End),
            ("\n", "", Key::End),
            ("\u{4}", "", Key::Interrupt),
            ("abc\u{3}", "abc", Key::Interrupt),
        ] {
            let mut line = LineEditor::default();
            let ends = keys.bytes().map(|byte| line.push(byte)).collect::<Vec<_>>();
            assert_eq!(ends.last(), Some(&end), "{keys:?}");
            assert!(ends[..ends.len() - 1].iter().all(|key| *key == Key::Continue), "{keys:?}");
            assert_eq!(line.text, text.as_bytes(), "{keys:?}");
        }
    }
}
