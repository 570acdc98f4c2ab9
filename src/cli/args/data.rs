//! Arguments of the request body. Their order on the command line is kept, as in curl.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The pieces of the request body, in the order of the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataArgs {
    pub(crate) pieces: Vec<(DataKind, String)>,
}

/// The flag of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataKind {
    Text,
    Binary,
    Raw,
    UrlEncode,
    Form,
    FormString,
}

impl DataKind {
    /// Whether the piece is a field of a multipart form.
    pub(crate) const fn is_form(self) -> bool {
        matches!(self, Self::Form | Self::FormString)
    }
}

#[derive(Args)]
#[command(next_help_heading = "Request")]
struct DataFlags {
    /// Form body; @FILE reads a file, @- stdin
    ///
    /// The body is sent as application/x-www-form-urlencoded. CR, LF and NUL of a file are removed. Several -d,
    /// --data-binary, --data-raw and --data-urlencode are joined with '&'.
    #[arg(
        short = 'd',
        long = "data",
        visible_alias = "data-ascii",
        value_name = "DATA",
        allow_hyphen_values = true
    )]
    data: Vec<String>,

    /// Like -d, but a file is sent byte for byte
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_binary: Vec<String>,

    /// Like -d, but '@' has no meaning
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_raw: Vec<String>,

    /// Like -d, with the value percent-encoded
    ///
    /// CONTENT or =CONTENT is encoded, NAME=CONTENT has a name that is not encoded. @FILE and NAME@FILE encode the content
    /// of a file.
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_urlencode: Vec<String>,

    /// Field of a multipart form
    ///
    /// NAME=CONTENT is a text field, NAME=@FILE a file and NAME=<FILE a text field with the content of a file; - is stdin.
    /// Attributes follow: ';type=text/html' and ';filename=NAME'. Example: -F 'photo=@a.png;type=image/png'. Repeatable.
    #[arg(short = 'F', long, value_name = "NAME=CONTENT", conflicts_with_all = ["data", "data_binary", "data_raw", "data_urlencode", "json"])]
    form: Vec<String>,

    /// Text field of a multipart form, taken as it is
    #[arg(long, value_name = "NAME=TEXT", conflicts_with_all = ["data", "data_binary", "data_raw", "data_urlencode", "json"])]
    form_string: Vec<String>,
}

const KINDS: [(&str, DataKind); 6] = [
    ("data", DataKind::Text),
    ("data_binary", DataKind::Binary),
    ("data_raw", DataKind::Raw),
    ("data_urlencode", DataKind::UrlEncode),
    ("form", DataKind::Form),
    ("form_string", DataKind::FormString),
];

impl Args for DataArgs {
    fn augment_args(command: Command) -> Command {
        DataFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        DataFlags::augment_args_for_update(command)
    }
}

impl FromArgMatches for DataArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut pieces = Vec::new();
        for (id, kind) in KINDS {
            let values = matches.get_many::<String>(id).into_iter().flatten();
            let positions = matches.indices_of(id).into_iter().flatten();
            pieces.extend(positions.zip(values).map(|(at, value)| (at, kind, value.clone())));
        }
        pieces.sort_by_key(|(at, ..)| *at);
        Ok(Self { pieces: pieces.into_iter().map(|(_, kind, value)| (kind, value)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
