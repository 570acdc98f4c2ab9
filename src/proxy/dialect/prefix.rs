//! What stands right before a value: text with `{country}` and `{state}`, and `[…]` that may be left out.

use std::str::FromStr;

use super::schema::Parameter;

/// A prefix, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix(Vec<(Vec<Piece>, GroupKind)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GroupKind {
    Always,
    /// Left out when a wish in it was not asked for.
    Optional,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(Parameter),
}

impl Prefix {
    /// The prefix with the values that `value` gives; the wish that is missing, if one is.
    pub(super) fn fill<'a>(&self, value: impl Fn(Parameter) -> Option<&'a str>) -> Result<String, Parameter> {
        let mut whole = String::new();
        for (pieces, kind) in &self.0 {
            match fill_pieces(pieces, &value) {
                Ok(text) => whole.push_str(&text),
                Err(_) if *kind == GroupKind::Optional => {}
                Err(missing) => return Err(missing),
            }
        }
        Ok(whole)
    }

    /// The wishes whose values it has, with whether they may be missing.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (Parameter, bool)> {
        self.0.iter().flat_map(|(pieces, kind)| {
            pieces.iter().filter_map(|piece| match piece {
                Piece::Parameter(wish) => Some((*wish, *kind == GroupKind::Optional)),
                Piece::Text(_) => None,
            })
        })
    }

    /// Its own text, without what it is filled with.
    pub(super) fn literal_text(&self) -> String {
        let pieces = self.0.iter().flat_map(|(pieces, _)| pieces);
        pieces.map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "" }).collect()
    }
}

fn fill_pieces<'a>(
    pieces: &[Piece],
    value: &impl Fn(Parameter) -> Option<&'a str>,
) -> Result<String, Parameter> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Parameter(wish) => text.push_str(value(*wish).ok_or(*wish)?),
        }
    }
    Ok(text)
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut groups = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (group, kind, after) = match rest.strip_prefix('[') {
                Some(inner) => {
                    let (group, after) = inner.split_once(']').ok_or("`[` has no `]`")?;
                    (group, GroupKind::Optional, after)
                }
                None => {
                    let end = rest.find('[').unwrap_or(rest.len());
                    (&rest[..end], GroupKind::Always, &rest[end..])
                }
            };
            let pieces = parse_pieces(group)?;
            if kind == GroupKind::Optional && !pieces.iter().any(|piece| matches!(piece, Piece::Parameter(_)))
            {
                return Err("`[…]` names nothing, so it would never be left out".to_owned());
            }
            groups.push((pieces, kind));
            rest = after;
        }
        Ok(Self(groups))
    }
}

fn parse_pieces(mut text: &str) -> Result<Vec<Piece>, String> {
    if text.contains(['[', ']']) {
        return Err("`[` and `]` do not match".to_owned());
    }
    let mut pieces = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        let (name, after) = rest.split_once('}').ok_or("`{` has no `}`")?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Parameter(match name {
            "country" => Parameter::Country,
            "state" => Parameter::State,
            _ => {
                return Err(format!(
                    "there is `{{country}}` and `{{state}}`, not `{{{}}}`",
                    name.escape_debug()
                ));
            }
        }));
        text = after;
    }
    if text.contains('}') {
        return Err("`}` has no `{`".to_owned());
    }
    pieces.push(Piece::Text(text.to_owned()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_filled_and_its_options_are_left_out() {
        let prefix: Prefix = "{country}_[{state}_]x".parse().unwrap();
        let both = |wish| Some(if wish == Parameter::Country { "us" } else { "alabama" });
        assert_eq!(prefix.fill(both).unwrap(), "us_alabama_x");
        let country = |wish| (wish == Parameter::Country).then_some("us");
        assert_eq!(prefix.fill(country).unwrap(), "us_x");
        assert_eq!(prefix.fill(|_| None), Err(Parameter::Country));
        assert_eq!(prefix.literal_text(), "__x");
        assert_eq!(
            prefix.parameters().collect::<Vec<_>>(),
            [(Parameter::Country, false), (Parameter::State, true)]
        );
    }

    #[test]
    fn a_prefix_that_does_not_close_or_names_something_else_is_an_error() {
        for text in ["[{country}_", "{country", "country}", "]", "[a[b]]", "{city}", "{}", "[_]"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}
