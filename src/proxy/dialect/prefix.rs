//! The text directly before a value: it may contain `{country}`, `{state}` and optional groups in `[…]`.

use std::str::FromStr;

use super::schema::Parameter;

/// A parsed prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix(Vec<(Vec<Piece>, GroupKind)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GroupKind {
    Always,
    /// Omitted if a parameter in it was not requested.
    Optional,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(Parameter),
}

impl Prefix {
    /// Returns the prefix with the values of `value` filled in, or the parameter that is missing.
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

    /// Returns the parameters it contains, and whether each is optional.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (Parameter, bool)> {
        self.0.iter().flat_map(|(pieces, kind)| {
            pieces.iter().filter_map(|piece| match piece {
                Piece::Parameter(parameter) => Some((*parameter, *kind == GroupKind::Optional)),
                Piece::Text(_) => None,
            })
        })
    }

    /// Returns the literal text, without the parameters.
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
            Piece::Parameter(parameter) => text.push_str(value(*parameter).ok_or(*parameter)?),
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
                return Err("`[…]` contains no parameter, so it would never be omitted".to_owned());
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
                    "`{{{}}}` is not supported: use `{{country}}` or `{{state}}`",
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
    fn a_prefix_is_filled_and_missing_options_are_omitted() {
        let prefix: Prefix = "{country}_[{state}_]x".parse().unwrap();
        let both = |parameter| Some(if parameter == Parameter::Country { "us" } else { "alabama" });
        assert_eq!(prefix.fill(both).unwrap(), "us_alabama_x");
        let country = |parameter| (parameter == Parameter::Country).then_some("us");
        assert_eq!(prefix.fill(country).unwrap(), "us_x");
        assert_eq!(prefix.fill(|_| None), Err(Parameter::Country));
        assert_eq!(prefix.literal_text(), "__x");
        assert_eq!(
            prefix.parameters().collect::<Vec<_>>(),
            [(Parameter::Country, false), (Parameter::State, true)]
        );
    }

    #[test]
    fn an_unclosed_prefix_or_an_unknown_parameter_is_an_error() {
        for text in ["[{country}_", "{country", "country}", "]", "[a[b]]", "{city}", "{}", "[_]"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}
