//! The brand list (sec-ch-ua) of Chromium, computed from its version.
//!
//! Follows Chromium's `components/embedder_support/user_agent_utils.cc`: the major version seeds two
//! characters of the GREASE brand, its version, and the order of the list. Valid since version 110.

use super::profile::Brand;

/// `navigator.userAgentData.brands` of Chromium with this major version. `product` is a browser
/// based on it, for example `Google Chrome`; `None` for Chromium itself.
#[must_use]
pub fn brands(product: Option<&str>, major: u32) -> Vec<Brand> {
    let version = major.to_string();
    let product = product.map(|name| brand(name, &version));
    order_brands(
        brand(&grease_brand(major), grease_version(major)),
        brand(CHROMIUM, &version),
        product,
        major,
    )
}

/// The same list with full versions. `chromium` is the version of the engine; the product has its own,
/// since Edge's build numbers differ from Chromium's.
#[must_use]
pub fn full_version_list(product: Option<(&str, &str)>, major: u32, chromium: &str) -> Vec<Brand> {
    let grease = brand(&grease_brand(major), &format!("{}.0.0.0", grease_version(major)));
    let product = product.map(|(name, version)| brand(name, version));
    order_brands(grease, brand(CHROMIUM, chromium), product, major)
}

/// Formats a list for sec-ch-ua and sec-ch-ua-full-version-list.
#[must_use]
pub fn header(brands: &[Brand]) -> String {
    let quoted: Vec<String> =
        brands.iter().map(|brand| format!("\"{}\";v=\"{}\"", brand.brand, brand.version)).collect();
    quoted.join(", ")
}

/// Orders the brands by the seed.
fn order_brands(grease: Brand, chromium: Brand, product: Option<Brand>, seed: u32) -> Vec<Brand> {
    let Some(product) = product else {
        return if seed.is_multiple_of(2) { vec![grease, chromium] } else { vec![chromium, grease] };
    };
    // The permutations of GREASE brand, Chromium and product, in the order of Chromium's table.
    match seed % 6 {
        0 => vec![grease, chromium, product],
        1 => vec![grease, product, chromium],
        2 => vec![chromium, grease, product],
        3 => vec![product, grease, chromium],
        4 => vec![chromium, product, grease],
        _ => vec![product, chromium, grease],
    }
}

/// The GREASE brand. It belongs to no browser, and prevents servers from relying on a fixed list.
fn grease_brand(seed: u32) -> String {
    let mark = |at: u32| GREASE_CHARS[at as usize % GREASE_CHARS.len()];
    format!("Not{}A{}Brand", mark(seed), mark(seed.wrapping_add(1)))
}

const fn grease_version(seed: u32) -> &'static str {
    GREASE_VERSIONS[seed as usize % GREASE_VERSIONS.len()]
}

fn brand(name: &str, version: &str) -> Brand {
    Brand { brand: name.to_owned(), version: version.to_owned() }
}

const CHROMIUM: &str = "Chromium";
const GREASE_CHARS: [char; 11] = [' ', '(', ':', '-', '.', '/', ')', ';', '=', '?', '_'];
const GREASE_VERSIONS: [&str; 3] = ["8", "99", "24"];

#[cfg(test)]
mod tests {
    use super::*;

    const CHROME: Option<&str> = Some("Google Chrome");
    const EDGE: Option<&str> = Some("Microsoft Edge");
    const BRAVE: Option<&str> = Some("Brave");

    // 156 of Chromium: recorded by the lab. The others: request headers of real browsers that people
    // pasted into public repositories, each seen in several.
    const SEEN: [(Option<&str>, u32, &str); 28] = [
        (None, 112, r#""Not:A-Brand";v="99", "Chromium";v="112""#),
        (CHROME, 112, r#""Chromium";v="112", "Google Chrome";v="112", "Not:A-Brand";v="99""#),
        (None, 116, r#""Not)A;Brand";v="24", "Chromium";v="116""#),
        (EDGE, 117, r#""Microsoft Edge";v="117", "Not;A=Brand";v="8", "Chromium";v="117""#),
        (CHROME, 123, r#""Google Chrome";v="123", "Not:A-Brand";v="8", "Chromium";v="123""#),
        (None, 125, r#""Chromium";v="125", "Not.A/Brand";v="24""#),
        (CHROME, 126, r#""Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126""#),
        (None, 128, r#""Not;A=Brand";v="24", "Chromium";v="128""#),
        (CHROME, 128, r#""Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128""#),
        (CHROME, 129, r#""Google Chrome";v="129", "Not=A?Brand";v="8", "Chromium";v="129""#),
        (EDGE, 131, r#""Microsoft Edge";v="131", "Chromium";v="131", "Not_A Brand";v="24""#),
        (EDGE, 133, r#""Not(A:Brand";v="99", "Microsoft Edge";v="133", "Chromium";v="133""#),
        (CHROME, 134, r#""Chromium";v="134", "Not:A-Brand";v="24", "Google Chrome";v="134""#),
        (EDGE, 135, r#""Microsoft Edge";v="135", "Not-A.Brand";v="8", "Chromium";v="135""#),
        (EDGE, 136, r#""Chromium";v="136", "Microsoft Edge";v="136", "Not.A/Brand";v="99""#),
        (BRAVE, 137, r#""Brave";v="137", "Chromium";v="137", "Not/A)Brand";v="24""#),
        (CHROME, 138, r#""Not)A;Brand";v="8", "Chromium";v="138", "Google Chrome";v="138""#),
        (CHROME, 140, r#""Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140""#),
        (CHROME, 141, r#""Google Chrome";v="141", "Not?A_Brand";v="8", "Chromium";v="141""#),
        (CHROME, 142, r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#),
        (CHROME, 143, r#""Google Chrome";v="143", "Chromium";v="143", "Not A(Brand";v="24""#),
        (BRAVE, 145, r#""Not:A-Brand";v="99", "Brave";v="145", "Chromium";v="145""#),
        (CHROME, 147, r#""Google Chrome";v="147", "Not.A/Brand";v="8", "Chromium";v="147""#),
        (CHROME, 149, r#""Google Chrome";v="149", "Chromium";v="149", "Not)A;Brand";v="24""#),
        (CHROME, 150, r#""Not;A=Brand";v="8", "Chromium";v="150", "Google Chrome";v="150""#),
        (CHROME, 154, r#""Chromium";v="154", "Google Chrome";v="154", "Not A(Brand";v="99""#),
        (None, 156, r#""Not:A-Brand";v="8", "Chromium";v="156""#),
        (CHROME, 156, r#""Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156""#),
    ];

    #[test]
    fn every_brand_list_seen_in_the_wild_comes_out() {
        for (product, major, seen) in SEEN {
            assert_eq!(header(&brands(product, major)), seen, "{product:?} {major}");
        }
    }

    #[test]
    fn every_full_version_list_seen_in_the_wild_comes_out() {
        let cases = [
            (
                Some(("Google Chrome", "138.0.7204.158")),
                138,
                "138.0.7204.158",
                r#""Not)A;Brand";v="8.0.0.0", "Chromium";v="138.0.7204.158", "Google Chrome";v="138.0.7204.158""#,
            ),
            (None, 112, "112.0.5615.137", r#""Not:A-Brand";v="99.0.0.0", "Chromium";v="112.0.5615.137""#),
            (None, 116, "116.0.5845.72", r#""Not)A;Brand";v="24.0.0.0", "Chromium";v="116.0.5845.72""#),
            (None, 125, "125.0.6422.60", r#""Chromium";v="125.0.6422.60", "Not.A/Brand";v="24.0.0.0""#),
            (
                Some(("Microsoft Edge", "134.0.3124.83")),
                134,
                "134.0.6998.118",
                r#""Chromium";v="134.0.6998.118", "Not:A-Brand";v="24.0.0.0", "Microsoft Edge";v="134.0.3124.83""#,
            ),
            (
                Some(("Google Chrome", "143.0.7499.147")),
                143,
                "143.0.7499.147",
                r#""Google Chrome";v="143.0.7499.147", "Chromium";v="143.0.7499.147", "Not A(Brand";v="24.0.0.0""#,
            ),
            (
                Some(("Microsoft Edge", "150.0.4078.65")),
                150,
                "150.0.7871.115",
                r#""Not;A=Brand";v="8.0.0.0", "Chromium";v="150.0.7871.115", "Microsoft Edge";v="150.0.4078.65""#,
            ),
            (
                Some(("Microsoft Edge", "154.0.4258.37")),
                154,
                "154.0.8037.58",
                r#""Chromium";v="154.0.8037.58", "Microsoft Edge";v="154.0.4258.37", "Not A(Brand";v="99.0.0.0""#,
            ),
            (None, 156, "156.0.8078.79", r#""Not:A-Brand";v="8.0.0.0", "Chromium";v="156.0.8078.79""#),
        ];
        for (product, major, chromium, seen) in cases {
            assert_eq!(header(&full_version_list(product, major, chromium)), seen, "{product:?} {major}");
        }
    }

    #[test]
    fn every_version_has_a_list_of_all_its_brands() {
        for major in (110..400).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(brands(None, major).len(), 2);
            let list = brands(CHROME, major);
            assert!(list.iter().any(|brand| brand.brand == "Google Chrome"));
            assert!(list.iter().any(|brand| brand.brand == CHROMIUM && brand.version == major.to_string()));
        }
    }
}
