#!/usr/bin/env python3
"""Runs the tests of protego, Scrapy's robots.txt parser, on rungs.

    tests/suites/protego.py FOLDER

FOLDER is the unpacked source package of protego. Its tests need pytest. `can_fetch` and `crawl_delay` are those of rungs.
Tests that ask for neither are not counted. Fails when a test fails that DIFFERENT does not list, or when it
lists a test that passes."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from robots_runner import Runner

WHOLE = "a product token is compared as a whole (RFC 9309, section 2.2.1)"
LETTERS = "a product token has only ASCII letters, `-` and `_` (RFC 9309, section 2.2.1)"
# Part of the name of a test, and why rungs answers another way.
DIFFERENT = {
    "test_user_agent_precedence[/group3": WHOLE,
    "test_user_agent_boundary_matching[google": WHOLE,
    "test_user_agent_boundary_matching[foobot-Mozilla": "a product token is given, not a User-Agent header with one inside",
    "test_allowed_wildcards": LETTERS,
    "test_1996rfc_examples": LETTERS,
    "test_unicode_url_and_useragent": LETTERS,
    "test_empty_user_agent_line": "`user agent` without a colon is the field `user`, as in google/robotstxt",
    "test_grouping_unknown_keys": "other lines do not end a group (RFC 9309, section 2.2.1), as in google/robotstxt",
    "TestProtego::test_generosity": "a line without a colon has exactly two words, as in google/robotstxt",
    "test_generosity_not_for_unknown_colon_directives": "a field name may have text behind it, as in google/robotstxt",
    "test_special_symbols_dual_behaviour": "`$` at the end is never an ordinary character (RFC 9309, section 2.2.3)",
    "test_with_absolute_urls": "a pattern begins with `/` or `*` (RFC 9309, section 2.2), as in google/robotstxt",
    "test_equal_sign_in_path": "the escape of a reserved character is another path (RFC 9309, section 2.2.2)",
}


class Results:
    """A pytest plugin that counts the tests that asked rungs."""

    def __init__(self):
        self.asked, self.equal, self.different, self.failures, self.used = False, 0, [], [], set()

    def pytest_runtest_setup(self, item):
        self.asked = False

    def pytest_runtest_logreport(self, report):
        if report.when != "call" or not self.asked:
            return
        if report.passed:
            self.equal += 1
            return
        parts = [part for part in DIFFERENT if part in report.nodeid]
        if not parts:
            self.failures.append(report.nodeid)
            return
        part = max(parts, key=len)
        self.used.add(part)
        self.different.append((report.nodeid, DIFFERENT[part]))


def install(protego, results):
    """Makes `Protego.parse` return an object that asks rungs."""
    runner = Runner()
    own_parse = protego.Protego.parse.__func__

    class Asking:
        def __init__(self, content):
            self.own = own_parse(protego.Protego, content)
            self.content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content

        def ask(self, url, agent):
            results.asked = True
            if url.startswith("/"):
                url = "http://a.example" + url
            return runner.ask(self.content, agent, url)

        def can_fetch(self, url, agent):
            return self.ask(url, agent)["allowed"]

        def crawl_delay(self, agent):
            return self.ask("http://a.example/", agent)["crawl_delay"]

        def __getattr__(self, name):
            return getattr(self.own, name)

    protego.Protego.parse = classmethod(lambda cls, content: Asking(content))


def asks(path):
    """Whether a file has tests that can ask rungs."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return "can_fetch" in text or "crawl_delay" in text


def main(folder):
    import pytest

    folder = os.path.abspath(folder)
    for path in (folder, os.path.join(folder, "src")):
        sys.path.insert(0, path)
    import protego

    results = Results()
    install(protego, results)
    tests = [path for path in sorted(glob.glob(os.path.join(folder, "tests", "test_*.py"))) if asks(path)]
    pytest.main(["-p", "no:terminal", "-p", "no:cacheprovider", "--rootdir", folder, *tests], plugins=[results])
    for name, reason in results.different:
        print(f"different: {name}: {reason}")
    results.failures += [f"{part}: listed in DIFFERENT, but no test differs" for part in DIFFERENT if part not in results.used]
    for name in results.failures:
        print(f"FAIL {name}")
    print(f"protego: {results.equal} equal, {len(results.different)} different with a reason, {len(results.failures)} failed")
    return 1 if results.failures or not results.equal else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
