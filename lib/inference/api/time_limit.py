"""A time limit for a whole reply, from the status line to the last byte.

The time-out of `requests` is one of silence: it begins again with every byte, so that a server that
drips its headers or its body never meets it. Here the socket's time-out counts once a reply.
"""

import io
import socket
from http.client import HTTPResponse
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

DAY = 86_400.0  # seconds for a socket without a time-out


class LimitedAdapter(HTTPAdapter):
    """An adapter, also through a proxy, whose replies end with an error when their time is over."""

    def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:
        """The connections to a request's server, as `requests` makes them, with our replies."""
        pool = super().get_connection_with_tls_context(*given, **named)
        pool.ConnectionCls = LIMITED.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class _Reply(HTTPResponse):
    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp: Any = io.BufferedReader(_UntilTheEnd(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    response_class = _Reply


class _Encrypted(HTTPSConnection):
    response_class = _Reply


# Those of SOCKS stay as they are.
LIMITED: dict[Any, Any] = {HTTPConnection: _Plain, HTTPSConnection: _Encrypted}


class _UntilTheEnd(io.RawIOBase):
    """A socket's bytes, each waited for only as long as is left of the socket's time-out."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self.raw, self.sock = raw, sock
        self.end = monotonic() + (sock.gettimeout() or DAY)

    def readable(self) -> bool:
        """Always, as a buffered reader wants to know."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Bytes read; raises TimeoutError when the time is over, whatever there is to read."""
        left = self.end - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(left)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self.raw.close()
        super().close()
