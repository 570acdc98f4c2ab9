//! Features of scripts: what they do, by the phrases that they contain, and how they look.

use super::feature_set::FeatureSet;
use super::phrases::PhraseTable;

/// Features that have the name of a set of phrases.
const ACTIONS: [&str; 9] =
    ["sets_cookie", "navigates", "submits", "computes", "probes", "evals", "posts", "stores", "presses"];

/// Adds the features of inline scripts and of data in scripts.
pub(super) fn add_features(features: &mut FeatureSet, phrases: &PhraseTable, script: &str, data: &str) {
    let compact = compact(script);
    let found = phrases.find(&compact);
    for action in ACTIONS {
        features.add_if(action, found.has(action));
    }
    features.add_if("code_challenge", found.has("challenge_code"));
    let has_state = found.has("refused_state") || phrases.find(&self::compact(data)).has("refused_state");
    features.add_if("state_refused", has_state);
    features.add_if(
        "script_login",
        found.has("navigates") && phrases.find(&script.to_lowercase()).has("path_login"),
    );
    features.add_if("long_token", has_long_token(script));
    features.add_if("number_list", count_listed_numbers(script) > MAX_LISTED);
    features.add_if("obfuscated", is_obfuscated(script, &compact));
}

/// Returns a script in lower case and without white space. Comparisons are replaced, so that `=` assigns.
fn compact(script: &str) -> String {
    let text: String = script.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    text.replace("===", "≡").replace("==", "≡")
}

/// Whether a script has a long piece without white space or punctuation of code.
fn has_long_token(script: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    script.as_bytes().split(|byte| !is_token(*byte)).any(|piece| piece.len() >= MIN_TOKEN)
}

/// Counts numbers of two digits or more that a comma follows.
fn count_listed_numbers(script: &str) -> usize {
    let pieces: Vec<&str> = script.split(',').collect();
    let ends_in_number =
        |piece: &&&str| piece.bytes().rev().take_while(u8::is_ascii_digit).take(2).count() == 2;
    pieces[..pieces.len() - 1].iter().filter(ends_in_number).count()
}

fn is_obfuscated(script: &str, compact: &str) -> bool {
    let is_hex_name = |at: usize| {
        let rest = &script.as_bytes()[at + 3..];
        rest.len() >= 3 && rest[..3].iter().all(u8::is_ascii_hexdigit)
    };
    let hex_names = script.match_indices("_0x").filter(|(at, _)| is_hex_name(*at)).count();
    let signs = script.bytes().filter(|byte| b"[]()!+".contains(byte)).count();
    hex_names >= MIN_HEX_NAMES
        || compact.contains("eval(function(p,a,c")
        || script.len() > MIN_SIGNED && signs * 10 > script.len() * 3
}

/// The length from which a token is long, in bytes.
const MIN_TOKEN: usize = 200;
/// Numbers in lists that an ordinary script has at most.
const MAX_LISTED: usize = 100;
/// Names such as `_0x3f2a` from which a script is obfuscated.
const MIN_HEX_NAMES: usize = 3;
/// The size in bytes from which the share of signs counts.
const MIN_SIGNED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_do_not_assign() {
        assert_eq!(compact("IF (location == 'a' && b === c) d = e"), "if(location≡'a'&&b≡c)d=e");
    }

    #[test]
    fn obfuscated_scripts_are_seen_by_names_packers_and_signs() {
        for (script, expected) in [
            ("var _0x12af=1,_0x98bc=2;f(_0x12af)".to_owned(), true),
            ("eval( function(p, a, c,k,e,d){})".to_owned(), true),
            ("(![]+[])[+[]]".repeat(30), true),
            ("var a = 1; f(a); // ordinary code with words in it ".repeat(9), false),
            ("_0x".to_owned(), false),
        ] {
            assert_eq!(is_obfuscated(&script, &compact(&script)), expected, "{script}");
        }
        assert!(has_long_token(&format!("var a='{}'", "Ab3/".repeat(50))) && !has_long_token("short"));
        assert_eq!((count_listed_numbers("[12,345,6,x,78]"), count_listed_numbers("")), (2, 0));
    }
}
