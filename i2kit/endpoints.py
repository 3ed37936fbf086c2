"""URLs under which balancers answer: a guess from ports' names and numbers. Pure."""

from __future__ import annotations

_USUAL = {"http": 80, "https": 443}


def url(name: str, port: int, host: str, here: int | None = None, *, protocol: str = "TCP", tls: bool = False) -> str:
    """Return the URL of a balancer's `port` called `name`, which is reached at port `here` of `host` (None: at the same one).

    Where the protocol is TCP it is http, unless name or number say otherwise. With `tls` the balancer speaks TLS there.

    >>> url("", 8080, "127.0.0.1")
    'http://127.0.0.1:8080'
    >>> url("redis", 6379, "127.0.0.1", 40001)
    'tcp://127.0.0.1:40001'
    >>> url("web", 443, "example.com", tls=True)
    'https://example.com'
    """
    if protocol != "TCP":
        scheme = protocol.lower()
    elif name.startswith("https") or port in (443, 8443):
        scheme = "https"
    elif not name or name.startswith(("http", "web", "www")) or port in (80, 8080):
        scheme = "https" if tls else "http"
    else:
        scheme = "tls" if tls else "tcp"
    number = port if here is None else here
    return f"{scheme}://{host}" if _USUAL.get(scheme) == number else f"{scheme}://{host}:{number}"
