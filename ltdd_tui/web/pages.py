"""Which pages may open the app."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_own_page(origin: str | None, asked_host: str, host: str) -> bool:
    """Whether a request comes from the page that this server gave out.

    A browser lets any page open a websocket to this machine and says in `Origin` which page it is. Behind a foreign
    name that was made to point here, `Origin` and `Host` agree: so on a loopback address only its own names count.
    """
    if origin is None or urlsplit(origin).netloc != asked_host:
        return False
    return host not in LOOPBACK_NAMES or urlsplit(f"//{asked_host}").hostname in LOOPBACK_NAMES
