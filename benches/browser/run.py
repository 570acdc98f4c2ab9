"""Runs the suites and the timings on loopback with rungs, other drivers and a browser opened by hand, and writes the
results. Usage: run.py FOLDER_OF_BUILT_PROGRAMS RESULTS.md"""

import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from clients import CHROMIUM, Driver, Hand, Rungs, Stock, chromium_pss
from stage import Stage

COUNT, AT_ONCE, HELD = 10, 2, 5


def display():
    """Starts an Xvfb for peers with a window. rungs does not get it and starts its own."""
    xvfb = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", "1920x1080x24", "-nolisten", "tcp"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    os.environ["DISPLAY"] = ":" + xvfb.stdout.readline().strip()
    return xvfb


def without_display(act, *arguments):
    display_name = os.environ.pop("DISPLAY")
    try:
        return act(*arguments)
    finally:
        os.environ["DISPLAY"] = display_name


def call(client, act, *arguments):
    return without_display(act, *arguments) if isinstance(client, Rungs) else act(*arguments)


def suites(stage, clients):
    """The table of the suites: the flags that each client raised and the hand-opened browser did not."""
    Hand().suite(stage.suite("hand"), lambda: stage.report("hand"))
    hand = stage.raised("hand")
    report = stage.report("hand", 0)
    botd = sum(name.startswith("botd") for name in report["flags"])
    lines = [
        f"BotD: {botd} flags; own suite: {len(report['flags']) - botd}, and those of the hooks. The hand-opened browser raises "
        f"{len(hand)}: {', '.join(sorted(hand))}.", "",
        "| client | BotD | own suite | more than the hand-opened |", "|---|---:|---:|---|",
        row("opened by hand", hand, set()),
    ]
    for name, client in clients.items():
        run = name.replace(" ", "-").replace(",", "")
        try:
            call(client, client.suite, stage.suite(run))
        except Exception as fault:  # noqa: BLE001: a client that fails keeps its row, with the reason
            print(f"{name}: {fault}", file=sys.stderr)
        stage.report(run, 30)
        time.sleep(1)
        lines.append(row(name, stage.raised(run), stage.raised(run) - hand))
        print(lines[-1], file=sys.stderr)
    return lines


def row(name, raised, more):
    botd = {flag for flag in raised if flag.startswith("botd")}
    shown = ", ".join(f"`{flag}`" for flag in sorted(more)) or "**nothing**"
    return f"| {name} | {len(botd)} | {len(raised - botd)} | {len(more)}: {shown} |" if more else \
        f"| {name} | {len(botd)} | {len(raised - botd)} | {shown} |"


def race(stage, name, client):
    """The measurements of one client, in the order of the table."""
    speed = call(client, client.speed, stage.page("speed"), COUNT, AT_ONCE)
    held = []
    for count in (1, HELD):
        place = f"{name}-{count}".replace(" ", "-").replace(",", "")

        def measure(pid, place=place, count=count):
            stage.await_hits(f"/page/{place}/", count)
            time.sleep(3)
            return chromium_pss(pid)

        held.append(call(client, client.hold, stage.page(place), count, measure))
    return [speed["first"], statistics.median(speed["warm"]), speed["rate"], held[0], (held[1] - held[0]) / (HELD - 1)]


def races(stage, clients):
    """The table of costs, with the ratio to rungs' value of the same mode in brackets."""
    lines = [
        f"| client | start to first page, ms | warm page in a new context, ms (p50 of {COUNT}) | pages/s, {AT_ONCE} at once "
        f"| PSS of a browser with a page, MB | PSS a further context with a page, MB |", "|---|---:|---:|---:|---:|---:|",
    ]
    base = {}
    for name, client in clients.items():
        try:
            figures = race(stage, name, client)
        except Exception as fault:  # noqa: BLE001: as above
            print(f"{name}: {fault!r}", file=sys.stderr)
            lines.append(f"| {name} | failed: {type(fault).__name__} | | | | |")
            continue
        mode = "headful" if "headful" in name else "headless"
        if isinstance(client, Rungs):
            base[mode] = figures
        own = base.get(mode, [float("nan")] * len(figures))
        cells = [f"{one:.{1 if one < 20 else 0}f} ({one / ours:.2f})" for one, ours in zip(figures, own)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    return lines


def locked(crate):
    """Returns the version of a crate in Cargo.lock."""
    text = (Path(__file__).resolve().parents[2] / "Cargo.lock").read_text()
    return text.split(f'name = "{crate}"\nversion = "', 1)[1].split('"', 1)[0]


def main():
    built, results = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ.pop("WAYLAND_DISPLAY", None)
    xvfb, stage = display(), Stage()
    try:
        both = {f"rungs {mode}": Rungs(built, mode == "headful") for mode in ("headless", "headful")}
        peers = {f"{package} {mode}": Driver(package, mode == "headful")
                 for package in ("patchright", "playwright") for mode in ("headless", "headful")}
        stock = {"chromiumoxide, stock": Stock(built, "stock"), "chromiumoxide, stealth mode": Stock(built, "stock-stealth")}
        suite_table = suites(stage, both | stock | peers)
        cost_table = races(stage, both | peers)
    finally:
        stage.close()
        xvfb.terminate()
        xvfb.wait()
    browser = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout.split()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("playwright", "patchright"))
    about = [
        "# The browser tier compared with other drivers", "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, written by "
        "`make bench-browser`: every client drives the same",
        f"{browser[0]} {browser[1]}, on loopback, in one run. {versions}, chromiumoxide {locked('chromiumoxide')}, rungs in its dev profile.", "",
        "## Detection suites", "",
        "A flag classifies the browser as automated. The baseline is the same browser opened by hand under Xvfb, without a driver.", "",
        *suite_table, "", "## Speed and memory", "",
        "A page of 5 kB. In brackets: the ratio to rungs in the same mode. Each page is read when its network is idle.",
        f"Load average at the end: {os.getloadavg()[1]:.1f}, on {os.cpu_count()} cores; the run itself makes about 2.", "",
        *cost_table, "",
    ]
    results.write_text("\n".join(about))
    print(results.read_text())


main()
