"""Asks rungs about robots.txt files: runs the example robots-cases, or the program that RUNGS_ROBOTS_CASES names."""
import json
import os
import re
import subprocess
import threading


class Runner:
    def __init__(self):
        program = os.environ.get("RUNGS_ROBOTS_CASES")
        command = [program] if program else ["cargo", "run", "-q", "--example", "robots-cases"]
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock = threading.Lock()

    def ask(self, robots, agent, url):
        """`robots` is bytes. `agent` may have a version: its product token is used."""
        token = re.match(r"[A-Za-z_-]*", agent).group()
        question = {"robots": robots.decode("latin-1"), "token": token, "url": url}
        with self.lock:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("robots-cases ended")
        return json.loads(line)
