"""The loopback server of the suites: serves fixtures/suites and stores the report of each run's page."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SUITES = Path(__file__).resolve().parents[2] / "fixtures" / "suites"
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
FILES = {"/botd.esm.js": SUITES / "botd" / "botd.esm.js"} | {
    f"/own/{file.name}": file for file in (SUITES / "own").iterdir()
}
LARGEST = 1 << 20
PAGE = ("<!doctype html><title>page</title>" + "<p>A page of five kilobytes.</p>" * 160).encode()


class Stage:
    """A running server. `report(run)` waits for the report of this run's page."""

    def __init__(self):
        self.heard, self.reports, self.late, self.hits = {}, {}, {}, []
        self.news = threading.Condition()
        stage = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def run(self):
                return parse_qs(urlsplit(self.path).query).get("run", [""])[0]

            def answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path = urlsplit(self.path).path
                if path == "/own/suite.html":
                    with stage.news:
                        stage.heard[self.run()] = {name.lower(): value for name, value in self.headers.items()}
                if path == "/heard":
                    return self.answer(200, "application/json", json.dumps(stage.heard.get(self.run(), {})).encode())
                if path.startswith("/page"):
                    with stage.news:
                        stage.hits.append(path)
                        stage.news.notify_all()
                    return self.answer(200, KINDS[".html"], PAGE)
                file = FILES.get(path)
                if file is None:
                    return self.answer(404, "text/plain", b"no")
                return self.answer(200, KINDS[file.suffix], file.read_bytes())

            def do_POST(self):
                body = self.rfile.read(min(int(self.headers["content-length"]), LARGEST)).decode()
                with stage.news:
                    if self.path.startswith("/late"):
                        stage.late.setdefault(self.run(), set()).add(body)
                    else:
                        stage.reports[self.run()] = json.loads(body)
                    stage.news.notify_all()
                self.answer(204, "text/plain", b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def suite(self, run):
        """The URL of the suites' page for this run."""
        return f"http://127.0.0.1:{self.server.server_port}/own/suite.html?run={run}"

    def page(self, number):
        """The URL of a page of about 5 kB."""
        return f"http://127.0.0.1:{self.server.server_port}/page/{number}"

    def await_hits(self, under, count, limit=60):
        """Waits until this many pages under a path were requested."""
        with self.news:
            self.news.wait_for(lambda: sum(path.startswith(under) for path in self.hits) >= count, limit)

    def report(self, run, limit=90):
        """The page's report; `None` if it did not arrive in time."""
        with self.news:
            self.news.wait_for(lambda: run in self.reports, limit)
            return self.reports.get(run)

    def raised(self, run):
        """The flags that this run raised, including those of the hooks."""
        report = self.report(run, 0) or {"flags": {}, "failed": ["no report"]}
        flags = {name for name, raised in report["flags"].items() if raised}
        return flags | {f"read.{name}" for name in self.late.get(run, ())} | {f"failed: {what}" for what in report["failed"]}

    def close(self):
        self.server.shutdown()
