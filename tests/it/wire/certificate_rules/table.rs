//! The certificates, each with what the tiers are to do with it.

use boring::hash::MessageDigest;
use boring::nid::Nid;

use crate::support::{Draft, Made, ec_key, rsa_key};

/// One certificate, and what each tier is to do with it.
pub(super) struct Case {
    pub(super) title: &'static str,
    pub(super) host: &'static str,
    pub(super) made: Made,
    pub(super) expected: Expected,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Accepted,
    /// Refused by all tiers. The HTTP tiers' message contains these words.
    Refused(&'static str),
    /// Refused by the HTTP tiers with these words, accepted by Chromium.
    Stricter(&'static str),
}

use Expected::{Accepted, Refused, Stricter};

/// The authorities that are trusted, and the certificates.
#[derive(Default)]
pub(super) struct Table {
    pub(super) trusted: Vec<Made>,
    pub(super) cases: Vec<Case>,
}

impl Table {
    pub(super) fn new() -> Self {
        let mut table = Self::default();
        let root = table.trust(&Draft::authority("a root"));
        let rsa_root = table.trust(&Draft::authority("an RSA root").key(rsa_key(2048)));
        table.add_names(&root);
        table.add_keys_and_signatures(&root, &rsa_root);
        table.add_usages_and_times(&root);
        table.add_intermediates(&root, &rsa_root);
        table.add_roots();
        table
    }

    fn trust(&mut self, draft: &Draft) -> Made {
        let made = draft.self_signed();
        self.trusted.push(made.clone());
        made
    }

    fn add(&mut self, title: &'static str, made: Made, expected: Expected) {
        self.add_host(title, HOST, made, expected);
    }

    fn add_host(&mut self, title: &'static str, host: &'static str, made: Made, expected: Expected) {
        self.cases.push(Case { title, host, made, expected });
    }

    fn add_names(&mut self, root: &Made) {
        let no_name = "has no subject alternative name";
        let other = "is for another name";
        for (title, host, common_name, names, expected) in [
            ("a name", HOST, HOST, "DNS:site.test", Accepted),
            ("a name in upper case", HOST, HOST, "DNS:SITE.TEST", Accepted),
            ("an address", "127.0.0.1", "a site", "IP:127.0.0.1", Accepted),
            ("a wildcard", "www.site.test", HOST, "DNS:*.site.test", Accepted),
            ("a wildcard below a private suffix", "me.github.io", HOST, "DNS:*.github.io", Accepted),
            ("a common name only", HOST, HOST, "", Refused(no_name)),
            ("an address as common name only", "127.0.0.1", "127.0.0.1", "", Refused(no_name)),
            ("a mail address only", HOST, HOST, "email:a@site.test", Refused(no_name)),
            ("a common name beside another name", HOST, HOST, "DNS:other.test", Refused(other)),
            ("a common name beside an address", HOST, HOST, "IP:127.0.0.1", Refused(other)),
            ("an address as name", "127.0.0.1", "127.0.0.1", "DNS:127.0.0.1", Refused(other)),
            (
                "a wildcard for a registry",
                "shop.co.uk",
                HOST,
                "DNS:*.co.uk",
                Refused("every name of a registry"),
            ),
            ("a wildcard and the name", "shop.co.uk", HOST, "DNS:*.co.uk,DNS:shop.co.uk", Accepted),
            ("a wildcard for .com", "shop.com", HOST, "DNS:*.com", Refused(other)),
            ("a wildcard for a top-level domain", HOST, HOST, "DNS:*.test", Refused(other)),
            ("a wildcard in a label", "www.site.test", HOST, "DNS:w*.site.test", Refused(other)),
            ("a wildcard in the middle", "www.a.test", HOST, "DNS:www.*.test", Refused(other)),
            ("a wildcard for two labels", "a.b.site.test", HOST, "DNS:*.site.test", Refused(other)),
            ("a wildcard for its own parent", HOST, HOST, "DNS:*.site.test", Refused(other)),
            ("no subject", HOST, "", "critical,DNS:site.test", Accepted),
            ("no subject, names not critical", HOST, "", "DNS:site.test", Refused("has an empty subject")),
            ("a name that ends in a dot", HOST, HOST, "DNS:site.test.", Accepted),
            ("a wildcard for an underscore", "a_b.site.test", HOST, "DNS:*.site.test", Accepted),
        ] {
            let draft = Draft::server(common_name);
            let draft = if names.is_empty() { draft } else { draft.with("subjectAltName", names) };
            self.add_host(title, host, draft.signed_by(root), expected);
        }
    }

    fn add_keys_and_signatures(&mut self, root: &Made, rsa_root: &Made) {
        for (title, bits, expected) in [
            ("RSA 768", 768, Refused("has an RSA key of 768 bits, and the minimum is 1024")),
            ("RSA 896", 896, Refused("has an RSA key of 896 bits, and the minimum is 1024")),
            ("RSA 1024", 1024, Accepted),
            ("RSA 1536", 1536, Accepted),
            ("RSA 2048", 2048, Accepted),
        ] {
            self.add(title, server().key(rsa_key(bits)).signed_by(root), expected);
        }
        self.add("P-384", server().key(ec_key(Nid::SECP384R1)).signed_by(root), Accepted);
        for (title, digest, expected) in [
            ("RSA with SHA-1", MessageDigest::sha1(), Refused("is signed with sha1WithRSAEncryption")),
            ("RSA with SHA-224", MessageDigest::sha224(), Refused("is signed with sha224WithRSAEncryption")),
            ("RSA with SHA-384", MessageDigest::sha384(), Accepted),
            ("RSA with SHA-512", MessageDigest::sha512(), Accepted),
        ] {
            self.add(title, server().signed_with(digest).signed_by(rsa_root), expected);
        }
        let made = server().signed_by(rsa_root).claiming_md5();
        self.add("RSA with MD5", made, Refused("is signed with md5WithRSAEncryption"));
        let made = server().signed_with(MessageDigest::sha1()).signed_by(root);
        self.add("ECDSA with SHA-1", made, Refused("is signed with ecdsa-with-SHA1"));
    }

    fn add_usages_and_times(&mut self, root: &Made) {
        let purpose = "unsupported certificate purpose";
        for (title, draft, expected) in [
            ("without extended usage", server().without("extendedKeyUsage"), Accepted),
            ("for clients", server().with("extendedKeyUsage", "clientAuth"), Refused(purpose)),
            ("for any usage", server().with("extendedKeyUsage", "anyExtendedKeyUsage"), Stricter(purpose)),
            ("an unknown extension", server().with("1.2.3.4.5", "DER:0500"), Accepted),
            (
                "an unknown critical extension",
                server().with("1.2.3.4.5", "critical,DER:0500"),
                Refused("unhandled critical extension"),
            ),
            // A server must staple, and does not: neither Chromium nor the HTTP tiers enforce it.
            ("must staple", server().with("1.3.6.1.5.5.7.1.24", "DER:3003020105"), Accepted),
            ("valid for 100 years", server().valid(Y2024, 100 * YEAR + Y2024), Accepted),
            ("expired", server().valid(Y2024 - 2 * YEAR, Y2024 - YEAR), Refused("has expired")),
            (
                "not valid yet",
                server().valid(Y2024 + 70 * YEAR, Y2024 + 71 * YEAR),
                Refused("is not valid yet"),
            ),
            ("ends before it starts", server().valid(Y2024 + 70 * YEAR, Y2024), Refused("is not valid")),
        ] {
            self.add(title, draft.signed_by(root), expected);
        }
    }

    fn add_intermediates(&mut self, root: &Made, rsa_root: &Made) {
        let outside = "permitted subtree violation";
        for (title, draft, expected) in [
            ("an intermediate", middle(), Accepted),
            ("expired intermediate", middle().valid(Y2024 - 2 * YEAR, Y2024 - YEAR), Refused("has expired")),
            (
                "intermediate without authority",
                middle().with("basicConstraints", "CA:FALSE"),
                Refused("invalid CA"),
            ),
            ("intermediate without constraints", middle().without("basicConstraints"), Refused("invalid CA")),
            (
                "intermediate that may not sign",
                middle().with("keyUsage", "critical,digitalSignature"),
                Refused("not trusted"),
            ),
            (
                "intermediate for clients",
                middle().with("extendedKeyUsage", "clientAuth"),
                Refused("unsupported certificate purpose"),
            ),
            (
                "intermediate with an unknown critical extension",
                middle().with("1.2.3.4.5", "critical,DER:0500"),
                Refused("unhandled critical extension"),
            ),
            (
                "within the permitted names",
                middle().with("nameConstraints", "critical,permitted;DNS:site.test"),
                Accepted,
            ),
            (
                "outside the permitted names",
                middle().with("nameConstraints", "critical,permitted;DNS:other.test"),
                Refused(outside),
            ),
            (
                "outside the permitted names, not critical",
                middle().with("nameConstraints", "permitted;DNS:other.test"),
                Refused(outside),
            ),
            (
                "in the excluded names",
                middle().with("nameConstraints", "critical,excluded;DNS:site.test"),
                Refused("excluded subtree violation"),
            ),
            (
                "intermediate RSA 768",
                middle().key(rsa_key(768)),
                Refused("has an issuer whose certificate has an RSA key of 768 bits"),
            ),
            ("intermediate RSA 1024", middle().key(rsa_key(1024)), Accepted),
            (
                "intermediate P-224",
                middle().key(ec_key(Nid::SECP224R1)),
                Refused("has an issuer whose certificate has a key on an elliptic curve"),
            ),
        ] {
            self.add(title, server().signed_by(&draft.signed_by(root)), expected);
        }
        let sha1 = middle().signed_with(MessageDigest::sha1()).signed_by(rsa_root);
        let words = "has an issuer whose certificate is signed with sha1WithRSAEncryption";
        self.add("intermediate with SHA-1", server().signed_by(&sha1), Refused(words));
        let short = middle().with("basicConstraints", "critical,CA:TRUE,pathlen:0").signed_by(root);
        let below = Draft::authority("below").signed_by(&short);
        self.add("a path that is too long", server().signed_by(&below), Refused("path length"));
    }

    fn add_roots(&mut self) {
        let constrained =
            |name| Draft::authority(name).with("basicConstraints", "critical,CA:TRUE,pathlen:0");
        let no_ca = "has an issuer whose certificate is not an authority";
        for (title, draft, expected) in [
            ("root RSA 1024", Draft::authority("r1").key(rsa_key(1024)), Accepted),
            ("root RSA 768", Draft::authority("r2").key(rsa_key(768)), Refused("an RSA key of 768 bits")),
            (
                "root that signs itself with SHA-1",
                Draft::authority("r3").key(rsa_key(2048)).signed_with(MessageDigest::sha1()),
                Accepted,
            ),
            (
                "expired root",
                Draft::authority("r4").valid(Y2024 - 2 * YEAR, Y2024 - YEAR),
                Refused("has expired"),
            ),
            ("root without constraints", Draft::authority("r5").without("basicConstraints"), Accepted),
            (
                "root without authority",
                Draft::authority("r6").with("basicConstraints", "CA:FALSE"),
                Refused(no_ca),
            ),
            (
                "root for clients",
                Draft::authority("r7").with("extendedKeyUsage", "clientAuth"),
                Refused("has an issuer whose certificate is not for TLS servers"),
            ),
            (
                "root for any usage",
                Draft::authority("r8").with("extendedKeyUsage", "anyExtendedKeyUsage"),
                Accepted,
            ),
            (
                "root with an unknown critical extension",
                Draft::authority("r9").with("1.2.3.4.5", "critical,DER:0500"),
                Refused("has an issuer whose certificate has a critical extension"),
            ),
            (
                "root for other names",
                Draft::authority("r10").with("nameConstraints", "critical,permitted;DNS:other.test"),
                Refused("permitted subtree violation"),
            ),
            ("root without room for an intermediate", constrained("r11"), Accepted),
        ] {
            let root = self.trust(&draft);
            self.add(title, server().signed_by(&root), expected);
        }
        let root = self.trust(&constrained("r12"));
        let words = "has an issuer whose certificate allows fewer intermediate certificates";
        self.add(
            "an intermediate too many for its root",
            server().signed_by(&middle().signed_by(&root)),
            Refused(words),
        );
        // The server also sends the root's old certificate, which another root signed with SHA-1.
        let draft = Draft::authority("r13").key(rsa_key(2048));
        let old = self.trust(&Draft::authority("r14").key(rsa_key(2048)));
        let crossed = draft.clone().signed_with(MessageDigest::sha1()).signed_by(&old);
        let root = self.trust(&draft);
        self.add("a needless old certificate", server().signed_by(&root).sending(&crossed), Accepted);
        self.add(
            "a stranger's root",
            server().signed_by(&Draft::authority("stranger").self_signed()),
            Refused("not trusted"),
        );
        self.add("a stranger", server().self_signed(), Refused("is s"));
        let own = Draft::server("trusted itself").with("subjectAltName", "DNS:site.test");
        let own = self.trust(&own);
        self.add("a certificate that is trusted itself", own, Stricter("not trusted"));
    }
}

fn server() -> Draft {
    Draft::server("a site").with("subjectAltName", "DNS:site.test")
}

fn middle() -> Draft {
    Draft::authority("an intermediate")
}

const HOST: &str = "site.test";

const YEAR: i64 = 365 * 24 * 60 * 60;

/// 2024-01-01, in Unix seconds.
const Y2024: i64 = 1_704_067_200;
