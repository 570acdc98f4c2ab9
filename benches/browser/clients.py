"""The clients. Each runs the detection suites, fetches pages for timing, and holds pages open."""

import asyncio
import importlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = os.environ.get("CHROMIUM", "/usr/lib/chromium/chromium")
ROOT = ["--no-sandbox"] if os.geteuid() == 0 else []
LIMIT = 300


class Rungs:
    """rungs: the program runs the suites, the library (peers.rs) is timed."""

    def __init__(self, built, headful):
        self.program, self.peers = built / "rungs", built / "examples" / "browser-peers"
        self.more = ["headful"] if headful else []
        self.flags = ["--headful"] if headful else []

    def suite(self, url):
        arguments = [self.program, "fetch", "-q", "--tier", "browser", "--wait-for", "#done", *self.flags, url]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)

    def speed(self, url, count, at_once):
        arguments = [self.peers, "speed", url, str(count), str(at_once), *self.more]
        return json.loads(subprocess.run(arguments, check=True, capture_output=True, timeout=LIMIT).stdout)

    def hold(self, url, count, measure):
        arguments = [self.peers, "hold", url, str(count), *self.more]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE) as child:
            try:
                return measure(child.pid)
            finally:
                child.stdin.close()
                child.wait(LIMIT)


class Stock:
    """Unmodified chromiumoxide (peers.rs)."""

    def __init__(self, built, mode):
        self.peers, self.mode = built / "examples" / "browser-peers", mode

    def suite(self, url):
        subprocess.run([self.peers, self.mode, url], check=True, timeout=LIMIT)


class Driver:
    """playwright or patchright with the asynchronous API and the same Chromium."""

    def __init__(self, package, headful):
        self.api = importlib.import_module(f"{package}.async_api")
        self.package, self.headful = package, headful

    def launch(self, playwright):
        return playwright.chromium.launch(executable_path=CHROMIUM, headless=not self.headful, args=ROOT)

    def suite(self, url):
        asyncio.run(asyncio.wait_for(self.visit(url), LIMIT))

    async def visit(self, url):
        async with self.api.async_playwright() as playwright:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                # As patchright's README recommends: a persistent context without a viewport.
                context = await playwright.chromium.launch_persistent_context(
                    folder, executable_path=CHROMIUM, headless=not self.headful, no_viewport=True, args=ROOT)
                page = await context.new_page()
                await page.goto(url, timeout=60_000)
                await page.wait_for_selector("#done", state="attached", timeout=60_000)
                await page.content()
                await page.query_selector(".bait")
                await page.wait_for_timeout(1000)
                await context.close()

    def speed(self, url, count, at_once):
        return asyncio.run(asyncio.wait_for(self.race(url, count, at_once), LIMIT))

    async def race(self, url, count, at_once):
        begun = time.perf_counter()
        async with self.api.async_playwright() as playwright:
            browser = await self.launch(playwright)
            gate = asyncio.Semaphore(at_once)

            async def get(name):
                async with gate:
                    begun = time.perf_counter()
                    context = await browser.new_context()
                    page = await context.new_page()
                    await page.goto(f"{url}/{name}", wait_until="networkidle")
                    await page.content()
                    await context.close()
                    return (time.perf_counter() - begun) * 1e3

            await get("first")
            first = (time.perf_counter() - begun) * 1e3
            warm = [await get(f"warm{n}") for n in range(count)]
            begun = time.perf_counter()
            await asyncio.gather(*(get(f"many{n}") for n in range(count)))
            rate = count / (time.perf_counter() - begun)
            await browser.close()
            return {"first": first, "warm": warm, "rate": rate}

    def hold(self, url, count, measure):
        return asyncio.run(asyncio.wait_for(self.keep(url, count, measure), LIMIT))

    async def keep(self, url, count, measure):
        async with self.api.async_playwright() as playwright:
            browser = await self.launch(playwright)
            for n in range(count):
                page = await (await browser.new_context()).new_page()
                await page.goto(f"{url}/hold{n}")
            held = await asyncio.to_thread(measure, os.getpid())
            await browser.close()
            return held


class Hand:
    """Chromium with a window, opened at a URL without a driver."""

    def suite(self, url, done):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            switches = ["--no-first-run", "--no-default-browser-check", "--password-store=basic", *ROOT]
            child = subprocess.Popen([CHROMIUM, *switches, f"--user-data-dir={folder}", url],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            done()
            child.terminate()
            child.wait(LIMIT)


def chromium_pss(pid):
    """Proportional set size of all Chromium processes below `pid`, in MB."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    kilobytes, below = 0, [pid]
    while below:
        for child in children.get(below.pop(), []):
            below.append(child)
            try:
                if "chrom" not in Path(f"/proc/{child}/comm").read_text():
                    continue
                rollup = Path(f"/proc/{child}/smaps_rollup").read_text()
            except OSError:
                continue
            kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024
