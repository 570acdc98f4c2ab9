"""Writes criterion's measurements as a table. Usage: results.py CRITERION_HOME RESULTS.md"""

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

PARTS = {
    "detect": "Verdicts: classifying a response with the shipped rules",
    "policy": "Policy: every decision of one fetch",
    "dialect": "Proxy dialects: location and session as credentials",
    "headers": "Headers: a request as Chrome 156 on Linux, over HTTP/2 unless stated",
    "cookies": "Cookies: the jar's cookies for a URL, ten per site",
    "robots": "robots.txt: parsing, and checking a URL",
    "target": "Targets: resolving the settings for a URL",
}


def measurements(home):
    """Yields group, name, median and confidence interval in nanoseconds of each benchmark, in the order of execution."""
    found = sorted(home.glob("**/new/estimates.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in found:
        bench = json.loads(path.with_name("benchmark.json").read_text())
        median = json.loads(path.read_text())["median"]
        interval = median["confidence_interval"]
        name = ", ".join(filter(None, (bench["function_id"], bench["value_str"])))
        yield bench["group_id"], name, median["point_estimate"], interval["lower_bound"], interval["upper_bound"]


def shown(nanoseconds):
    for unit, size in (("ns", 1), ("µs", 1e3), ("ms", 1e6)):
        if nanoseconds < 1000 * size or unit == "ms":
            return f"{nanoseconds / size:.3g} {unit}"


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version():
    package = json.loads(output_of(os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--no-deps",
                                   "--manifest-path", str(Path(__file__).parent / "../../Cargo.toml")))
    return next(one["version"] for one in package["packages"] if one["name"] == "rungs")


def main(home, out):
    rows = list(measurements(Path(home)))
    missing = PARTS.keys() - {row[0] for row in rows}
    unknown = {row[0] for row in rows} - PARTS.keys()
    if missing or unknown:
        sys.exit(f"results.py: not measured: {sorted(missing)}; not in PARTS: {sorted(unknown)}")
    lines = [
        "# Cost of the code without I/O",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores "
        f"({processor()}), rungs {version()}, {output_of('rustc', '--version')}, written by `make bench-pure`.",
        "Processor time of one thread, so that other load has little influence: criterion's median and its 95 % interval.",
    ]
    for part, title in PARTS.items():
        lines += ["", f"## {title}", "", "| | median | 95 % |", "|---|---:|---:|"]
        lines += [f"| {name} | {shown(median)} | {shown(low)} to {shown(high)} |"
                  for group, name, median, low, high in rows if group == part]
    Path(out).write_text("\n".join(lines) + "\n")
    print(f"written: {out} ({len(rows)} figures)")


main(*sys.argv[1:])
