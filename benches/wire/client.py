"""Prints name and version, then fetches URLs one after the other in one session of a Python client.

client.py CLIENT CA_FILE HOST PORT URL...: HOST resolves to 127.0.0.1.
"""

import importlib.metadata
import ipaddress
import socket
import sys
import time

SETTLE = 0.3  # Session tickets and GOAWAY arrive after the response.


def curl_cffi(ca, host, port):
    from curl_cffi import CurlOpt, requests
    from curl_cffi.requests.impersonate import DEFAULT_CHROME

    session = requests.Session(
        impersonate="chrome", verify=ca, curl_options={CurlOpt.RESOLVE: [f"{host}:{port}:127.0.0.1"]}
    )
    return DEFAULT_CHROME, session.get


def python_wreq(ca, host, _port):
    import wreq
    from wreq import blocking, emulation

    newest = max((name for name in dir(emulation.Profile) if name.startswith("Chrome")), key=lambda n: int(n[6:]))
    dns = wreq.DnsOptions()
    dns.add_resolve(host, [ipaddress.IPv4Address("127.0.0.1")])
    with open(ca) as file:
        store = wreq.CertStore.from_pem_certs([file.read()])
    chosen = emulation.Emulation(profile=getattr(emulation.Profile, newest), platform=emulation.Platform.Linux)
    client = blocking.Client(emulation=chosen, tls_verify=store, dns_options=dns)

    def get(url):
        client.get(url).bytes()

    return newest, get


def httpx(ca, _host, _port):
    import ssl

    import httpx as library

    return "", library.Client(http2=True, verify=ssl.create_default_context(cafile=ca)).get


def requests(ca, _host, _port):
    import requests as library

    session = library.Session()
    # Not `session.verify`: REQUESTS_CA_BUNDLE would override it.
    return "", lambda url: session.get(url, verify=ca)


def to_loopback(host):
    """Patches Python's resolver to return 127.0.0.1 for the host."""
    original = socket.getaddrinfo
    socket.getaddrinfo = lambda name, *rest, **more: original("127.0.0.1" if name == host else name, *rest, **more)


CLIENTS = {
    "curl_cffi": ("curl_cffi", curl_cffi),
    "python-wreq": ("wreq", python_wreq),
    "httpx": ("httpx", httpx),
    "requests": ("requests", requests),
}


def main():
    name, ca, host, port, *urls = sys.argv[1:]
    package, make = CLIENTS[name]
    to_loopback(host)
    profile, get = make(ca, host, int(port))
    shown = {"python-wreq": "wreq (PyPI)"}.get(name, name)
    print(shown, importlib.metadata.version(package), profile, flush=True)
    for url in urls:
        try:
            get(url)
        except Exception as error:  # Some clients fail when the server closes the connection.
            print(f"{name}: {error!r}; retrying", file=sys.stderr)
            get(url)
        time.sleep(SETTLE)


main()
