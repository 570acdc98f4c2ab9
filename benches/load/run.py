"""Runs the clients against a loopback nginx and writes their costs. Usage: run.py LOAD PEERS RUNGS RESULTS.md; the first
three are built programs. Each client is a process of its own and runs twice, with few requests and with many. The
difference is the cost of the requests, without start and setup."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOAD, PEERS, RUNGS, RESULTS = (Path(path).resolve() for path in sys.argv[1:5])
CLIENT = Path(__file__).resolve().parent / "client.py"
QUICK = bool(os.environ.get("QUICK"))
ROUNDS = 1 if QUICK else 3
BASE = "rungs engine"


def nginx(folder):
    """Starts nginx with one worker: TLS with HTTP/1.1, with HTTP/2, and without keep-alive. Returns process and ports."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=load.example", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    www = folder / "www"
    www.mkdir()
    word = b"<p>Nothing here but a paragraph of text, so that the page has a size.</p>\n"
    for name, size in (("10k", 10_000), ("700k", 700_000)):
        page = b"<!doctype html><html><head><title>A page</title></head><body>\n"
        (www / name).write_bytes((page + word * (size // len(word) + 1))[:size])
    ports = {name: free_port() for name in ("h1", "h2", "fresh")}
    server = "server {{ listen 127.0.0.1:{port} ssl{more}; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key}; {rest} root {www}; }}"
    servers = "\n".join(
        server.format(port=ports[name], more=more, cert=certificate, key=key, rest=rest, www=www)
        for name, more, rest in (("h1", "", ""), ("h2", " http2", ""), ("fresh", "", "keepalive_timeout 0;")))
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log error; worker_rlimit_nofile 30000;\n"
        "events { worker_connections 25000; }\n"
        f"http {{ access_log off; default_type text/html; keepalive_timeout 300s; keepalive_requests 1000000000; sendfile on;\n"
        f"client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d;\n"
        f"scgi_temp_path {folder}/e;\n{servers}\n}}\n")
    child = subprocess.Popen(["nginx", "-p", folder, "-c", conf], stderr=subprocess.DEVNULL)
    time.sleep(1)
    if child.poll() is not None:
        raise SystemExit((folder / "error.log").read_text())
    return child, ports


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cost(command):
    """Returns seconds, CPU seconds and peak memory in MB of a program; None if it failed."""
    with tempfile.TemporaryFile() as stderr:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        # The kernel's peak includes what Python used before the program started.
        peak, ended = 0, 0
        while not ended:
            peak = resident(child.pid, "VmHWM:") or peak
            ended, status, used = os.wait4(child.pid, os.WNOHANG)
            time.sleep(0 if ended else 0.01)
        took = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            stderr.seek(0)
            print(f"{command}: {stderr.read().decode(errors='replace')[-300:]}", file=sys.stderr)
            return None
    return took, used.ru_utime + used.ru_stime, peak


def rungs_batch(folder, url, count, at_once):
    """Runs `rungs batch` over COUNT different URLs and discards the records."""
    list_ = folder / f"urls-{count}"
    list_.write_text("".join(f"{url}?{n}\n" for n in range(count)))
    out = folder / "out.jsonl"
    for old in folder.glob("out.jsonl*"):
        old.unlink()
    return [RUNGS, "batch", list_, "--out", out, "--concurrency", str(at_once), "--host-concurrency", str(at_once), "--tier",
            "impersonate", "-k", "--robots", "ignore", "--no-memory", "--no-progress"]


def clients(folder):
    """Name, command for (url, count, at_once), and the number of requests in about a second."""
    python = sys.executable
    all_ = {
        BASE: (lambda *a: [LOAD, "engine", *map(str, a)], 20_000),
        "rungs router": (lambda *a: [LOAD, "router", *map(str, a)], 20_000),
        "rungs batch": (lambda *a: rungs_batch(folder, *a), 10_000),
        "wreq": (lambda *a: [PEERS, "wreq", *map(str, a)], 20_000),
        "reqwest": (lambda *a: [PEERS, "reqwest", *map(str, a)], 20_000),
    }
    for name, requests in (("aiohttp", 2500), ("curl_cffi", 2000), ("httpx", 600), ("scrapy", 600)):
        all_[name] = (lambda *a, name=name: [python, CLIENT, name, *map(str, a)], requests)
    return all_


def h2load(url, count, at_once, h2):
    """The upper limit: a client that discards responses."""
    flags = ["-m", "32"] if h2 else ["--h1"]
    sockets = max(1, at_once // 32) if h2 else at_once
    return ["h2load", "-t1", "-n", str(count), "-c", str(sockets), *flags, url]


def scenario(folder, title, url, at_once, share, only=None, h2=False, limit=True):
    """The rows of one table: requests/s, CPU per request, peak memory; ratios to rungs' engine."""
    rows = {}
    all_clients = clients(folder)
    if limit and shutil.which("h2load"):
        all_clients["h2load (the limit)"] = (lambda u, n, c: h2load(u, n, c, h2), 20000)
    for _ in range(ROUNDS):
        for name, (command, requests) in all_clients.items():
            if only and name not in only:
                continue
            many = max(at_once, int(requests * share * (0.3 if QUICK else 1)))
            few = max(1, min(at_once, many // 10))
            small, large = cost(command(url, few, at_once)), cost(command(url, many + few, at_once))
            if small and large:
                rows.setdefault(name, []).append(
                    (many / max(large[0] - small[0], 1e-3), (large[1] - small[1]) / many * 1e6, large[2]))
    figures = {name: [statistics.median(column) for column in zip(*all_)] for name, all_ in rows.items()}
    base = figures.get(BASE, [float("nan")] * 3)
    lines = [f"### {title}", "", "| client | requests/s | CPU per request, us | peak RSS, MB |", "|---|---:|---:|---:|"]
    for name, row in figures.items():
        cells = [f"{one:,.0f} ({one / ours:.2f})" for one, ours in zip(row, base)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    print("\n".join(lines), file=sys.stderr)
    return figures, [*lines, ""]


def words_of(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=600).stdout.split()


def resident(pid, what="VmRSS:"):
    """Resident memory of a process in MB, or its peak (VmHWM); None if the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith(what)), None)
    return line and int(line.split()[1]) / 1024


def long_run(folder, url, count):
    """Memory in MB of one `rungs batch` over COUNT URLs, at 10, 50 and 100 % of its records, and URLs a second."""
    command = rungs_batch(folder, url, count, 64)
    out = folder / "out.csv"
    command[command.index("--out") + 1] = out
    begun, samples = time.perf_counter(), []
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while child.poll() is None:
        size = out.stat().st_size if out.exists() else 0
        if memory := resident(child.pid):
            samples.append((size, memory))
        time.sleep(0.1)
    took = time.perf_counter() - begun
    if child.returncode:
        raise SystemExit(f"rungs batch: {child.stderr.read()[-500:]}")
    with out.open() as lines:
        records = sum(1 for _ in lines) - 1
    if records != count:
        raise SystemExit(f"rungs batch: {records} records of {count} URLs")
    whole = samples[-1][0]
    at = [next(memory for size, memory in samples if size >= share * whole) for share in (0.1, 0.5, 1)]
    return at, count / took


def bars(folder, ports):
    """The targets by name: the measured value and its limit."""
    origin = subprocess.Popen([LOAD, "origin"], stdout=subprocess.PIPE, text=True)
    port = origin.stdout.readline().strip()
    try:
        slow = [float(words_of(LOAD, "timed", f"http://127.0.0.1:{port}/1000", 50, 50)[0]) for _ in range(ROUNDS)]
        wide = [float(words_of(LOAD, "timed", f"http://127.0.0.1:{port}/210", 1000, 1000)[0]) for _ in range(ROUNDS)]
    finally:
        origin.terminate()
        origin.wait()
    page = f"https://127.0.0.1:{ports['h1']}/10k"
    ours, others = ([], [])
    for _ in range(ROUNDS):
        for all_, command in ((ours, (LOAD, "lag")), (others, (PEERS, "lag", "wreq"))):
            all_.append(list(map(int, words_of(*command, page, 16_000, 64))))
    lag, lag_of_wreq = ([statistics.median(column) for column in zip(*all_)] for all_ in (ours, others))
    count = 1000 if QUICK else 10_000
    idle = float(words_of(LOAD, "idle", ports["idle"], count)[0])
    urls = 20_000 if QUICK else 1_000_000
    memory, rate = long_run(folder, page, urls)
    growth = memory[2] / memory[1] - 1
    return [
        (f"`rungs batch` over {urls:,} URLs ({rate:,.0f}/s): RSS at 10, 50, 100 %, and growth over the second half",
         f"{memory[0]:.0f}, {memory[1]:.0f}, {memory[2]:.0f} MB, {growth:+.0%}", "+10 %", growth <= 0.1),
        ("50 URLs with 1 s delay, 50 in flight", f"{statistics.median(slow):.3f} s", "1.15 s", statistics.median(slow) <= 1.15),
        ("1,000 URLs at 210 ms, 1,000 in flight, over the ideal", f"{statistics.median(wide) - 0.21:.3f} s", "0.6 s",
         statistics.median(wide) - 0.21 <= 0.6),
        ("loop lag at full load, p99 (p50), and with wreq instead of the router",
         f"{lag[1]:,.0f} us ({lag[0]:,.0f}), {lag_of_wreq[1]:,.0f} us ({lag_of_wreq[0]:,.0f})", "1,000 us", lag[1] < 1000),
        (f"RSS of an open idle TLS connection, {count:,} open", f"{idle:.1f} kB", "45 kB", idle <= 45),
    ]


MET = {True: "yes", False: "**no**", None: ""}


def with_wide(what, keep, wide, bar, is_met, form, figure):
    """A target that is judged at 64 requests in flight, with the value at 1,000 beside it."""
    def of(figures):
        # A client that failed has no row.
        return figure(figures) if {BASE, "rungs router", "wreq", "aiohttp", "curl_cffi"} <= set(figures) else float("nan")

    return f"{what}; at 1,000 in flight", f"{form.format(of(keep))}; {form.format(of(wide))}", bar, is_met and is_met(of(keep))


def main():
    folder = Path(tempfile.mkdtemp())
    child, ports = nginx(folder)
    ports["idle"] = ports["h1"]
    here = "https://127.0.0.1:{}/{}"
    try:
        python = None if not QUICK else {BASE, "rungs router", "wreq", "aiohttp", "curl_cffi"}
        keep, tables = scenario(folder, "HTTP/1.1, TLS, kept alive, 10 kB, 64 in flight", here.format(ports["h1"], "10k"), 64, 1, python)
        for title, name, page, at_once, share, h2 in (
            ("HTTP/2, TLS, 10 kB, 64 in flight", "h2", "10k", 64, 1, True),
            ("HTTP/1.1, TLS, kept alive, 10 kB, 1,000 in flight", "h1", "10k", 1000, 1, False),
            ("HTTP/1.1, TLS, kept alive, 700 kB, 64 in flight", "h1", "700k", 64, 0.1, False),
            ("HTTP/1.1, a new TLS connection for each request, 10 kB, 64 in flight", "fresh", "10k", 64, 0.2, False),
        ):
            only = {"rungs engine", "rungs router", "rungs batch", "wreq", "reqwest", "curl_cffi", "httpx"} if h2 else python
            figures, lines = scenario(folder, title, here.format(ports[name], page), at_once, share, only, h2)
            tables += lines
            if at_once == 1000:
                wide = figures
        targets = bars(folder, ports)
    finally:
        child.terminate()
        child.wait()
        shutil.rmtree(folder, ignore_errors=True)
    targets = [
        with_wide("the router, over the engine alone, CPU per request", keep, wide, "+15 %", lambda more: more <= 0.15, "{:+.0%}",
               lambda all_: all_["rungs router"][1] / all_[BASE][1] - 1),
        with_wide("rungs router : wreq, requests/s", keep, wide, "1.00", lambda ratio: ratio >= 1, "{:.2f}",
               lambda all_: all_["rungs router"][0] / all_["wreq"][0]),
        with_wide("the engine : wreq, requests/s", keep, wide, "-", None, "{:.2f}", lambda all_: all_[BASE][0] / all_["wreq"][0]),
        with_wide("aiohttp : rungs router, CPU per request", keep, wide, "5", lambda ratio: ratio >= 5, "{:.1f}",
               lambda all_: all_["aiohttp"][1] / all_["rungs router"][1]),
        with_wide("curl_cffi : rungs router, CPU per request", keep, wide, "6", lambda ratio: ratio >= 6, "{:.1f}",
               lambda all_: all_["curl_cffi"][1] / all_["rungs router"][1]),
        *targets,
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "curl_cffi", "httpx", "scrapy"))
    lines = [
        "# rungs under load, compared with other clients", "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, written by `make bench-load`;",
        f"median of {ROUNDS} rounds, all in one run, against {nginx_version()} on loopback, one worker on the same cores. Optimised builds. "
        f"wreq 6.0.0-rc.31, reqwest 0.13.5, {versions}.",
        "In brackets: the ratio to the engine of rungs. Load average at the end: "
        f"{os.getloadavg()[1]:.1f}.", "",
        "## Targets", "", "| metric | measured | limit | met |", "|---|---:|---:|---|",
        *(f"| {what} | {figure} | {bar} | {MET[met]} |" for what, figure, bar, met in targets), "",
        "## Clients", "", *tables,
    ]
    RESULTS.write_text("\n".join(lines))
    if not QUICK:
        update_docs(lines[2:-len(tables)] + tables[:tables.index("", 2)])
    print(RESULTS.read_text())


def update_docs(lines):
    """Replaces the targets and the first table in docs/benchmarks.md."""
    page = RESULTS.parent.parent.parent / "docs" / "benchmarks.md"
    text = page.read_text()
    begin, end = "<!-- make bench-load writes this -->\n", "<!-- up to here -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    body = "\n".join(line.replace("## ", "### ") if line.startswith("## ") else line for line in lines)
    page.write_text(before + begin + body + "\n" + end + after)


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def nginx_version():
    return subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().rsplit(" ", 1)[-1]


main()
