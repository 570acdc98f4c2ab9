//! Whether one text holds another, by bytes.

/// As it is. An empty one is in every text.
pub(super) fn contains(hay: &[u8], part: &[u8]) -> bool {
    part.is_empty() || hay.windows(part.len()).any(|window| window == part)
}

/// Whatever the case of its ASCII letters.
pub(super) fn contains_ignore_case(hay: &[u8], part: &[u8]) -> bool {
    part.is_empty() || hay.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
