#!/usr/bin/env python3
"""Runs the cases of google/robotstxt (robots_test.cc) on rungs.

    tests/suites/google_robotstxt.py CHECKOUT

Reads the literals and the EXPECT lines of the C++ source. Fails when a case differs that DIFFERENT does not list."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from robots_runner import Runner

# Test, and why rungs answers another way.
DIFFERENT = {
    "GoogleOnly_SystemTest": "rungs has no request without a URL",
    "GoogleOnly_AcceptUserAgentUpToFirstSpace": "the crawler's own name `Foo Bar` is not a product token",
    "ID_Encoding": "rungs encodes the URL, and decodes unreserved characters (RFC 9309, section 2.2.2)",
}
LITERAL = r'"(?:[^"\\]|\\.)*"'
LITERALS = rf"{LITERAL}(?:\s*{LITERAL})*"


def text_of(literals):
    """The bytes of adjacent C++ literals."""
    joined = b"".join(part[1:-1].encode() for part in re.findall(LITERAL, literals))
    escapes = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"\\": b"\\", b"0": b"\0"}

    def decode(found):
        code = found.group(1)
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else escapes[code]

    return re.sub(rb"\\(x[0-9A-Fa-f]{2}|.)", decode, joined)


def cases(body):
    """Yields (robots, agent, URL, expected) of a test. None for an EXPECT whose values are computed."""
    names = {}
    assignment = rf"\b(\w+)\s*=\s*({LITERALS})\s*;"
    expectation = r"EXPECT_(TRUE|FALSE)\(\s*IsUserAgentAllowed\((.*?)\)\s*\)\s*;"
    appended = set(re.findall(r"StrAppend\(&(\w+)", body))
    for found in re.finditer(rf"{assignment}|{expectation}", body, re.S):
        if found.group(1):
            names[found.group(1)] = text_of(found.group(2))
            continue
        values = []
        for argument in re.findall(rf"{LITERALS}|[A-Za-z_]\w*\(|\w+", found.group(4)):
            if argument.startswith('"'):
                values.append(text_of(argument))
            else:
                values.append(None if argument in appended else names.get(argument))
        if len(values) != 3 or None in values:
            yield None
        else:
            yield (*values, found.group(3) == "TRUE")


def main(checkout):
    source = open(os.path.join(checkout, "robots_test.cc"), encoding="utf-8").read()
    runner = Runner()
    equal, skipped, failures, explained = 0, 0, [], {}
    for name, body in re.findall(r"\nTEST\(\w+, (\w+)\) \{(.*?)\n\}", source, re.S):
        for case in cases(body):
            if case is None:
                skipped += 1
                continue
            robots, agent, url, expected = case
            allowed = runner.ask(robots, agent.decode(), url.decode())["allowed"]
            if allowed == expected:
                equal += 1
            elif name in DIFFERENT:
                explained[name] = explained.get(name, 0) + 1
            else:
                failures.append(f"{name}: {agent.decode()} {url.decode()}: {allowed}, expected {expected}")
    for name, count in explained.items():
        print(f"different ({count}): {name}: {DIFFERENT[name]}")
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"google/robotstxt: {equal} equal, {sum(explained.values())} different with a reason, "
          f"{len(failures)} failed, {skipped} not run (their values are computed)")
    return 1 if failures or not equal else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
