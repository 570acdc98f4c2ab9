"""Checks a WACZ with the tools of others: `check.py FILE`. Prints one JSON object: the number of WARC records by type."""
import collections
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile

from cdxj_indexer.main import CDXJIndexer
from fastwarc.warc import ArchiveIterator as FastIterator
from surt import surt
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

DATA = "archive/data.warc.gz"


def validate(path):
    """wacz: structure, description, and the digests of all files."""
    command = [sys.executable, "-c", "from wacz.main import main; main()", "validate", "-f", path]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0 or "Validation succeeded" not in run.stdout:
        sys.exit(f"wacz: {run.stdout}{run.stderr}")


def read_with_warcio(data):
    """warcio: every record is readable, and every digest is right."""
    kinds = collections.Counter()
    for record in ArchiveIterator(io.BytesIO(data), check_digests="raise"):
        kinds[record.rec_type] += 1
        record.content_stream().read()
    return kinds


def read_with_fastwarc(data):
    """FastWARC: the same records, with the digests of their payloads."""
    kinds = collections.Counter()
    for record in FastIterator(io.BytesIO(data), parse_http=True):
        kinds[record.headers["WARC-Type"]] += 1
        digest = record.headers.get("WARC-Payload-Digest")
        body = record.reader.read()
        if digest and digest != "sha256:" + hashlib.sha256(body).hexdigest():
            sys.exit(f"FastWARC: another payload: {record.headers}")
    return kinds


def index_of(data, tmp):
    """cdxj-indexer: its lines, as comparable values."""
    output = io.StringIO()
    tmp.write(data)
    tmp.flush()
    CDXJIndexer(inputs=[tmp.name], output=output, sort=True).process_all()
    return output.getvalue()


def values(line):
    key, date, rest = line.split(" ", 2)
    entry = json.loads(rest)
    return key, date, entry["url"], entry.get("mime"), entry.get("status"), entry["offset"], entry["length"]


def main(path):
    validate(path)
    with zipfile.ZipFile(path) as archive:
        data = archive.read(DATA)
        own = archive.read("indexes/index.cdx").decode().splitlines()
        pages = [json.loads(line) for line in archive.read("pages/pages.jsonl").decode().splitlines()]
    with tempfile.NamedTemporaryFile(suffix=".warc.gz") as tmp:
        theirs = index_of(data, tmp).splitlines()
    if own != sorted(own):
        sys.exit("the index is not sorted")
    # pywb finds a page by this key. The date is compared by warcio above.
    for line in own:
        key, _, url, *_ = values(line)
        if key != surt(url):
            sys.exit(f"{url} has the key {key}, not {surt(url)}")
    if sorted(map(values, own)) != sorted(map(values, theirs)):
        lines = set(map(values, own)) ^ set(map(values, theirs))
        sys.exit("cdxj-indexer has another index:\n" + "\n".join(map(str, sorted(lines, key=str))))
    kinds, fast = read_with_warcio(data), read_with_fastwarc(data)
    if kinds != fast:
        sys.exit(f"warcio: {kinds}, FastWARC: {fast}")
    titles = {page["url"]: page.get("title") for page in pages[1:]}
    print(json.dumps({"records": kinds, "pages": titles}))


if __name__ == "__main__":
    main(sys.argv[1])
