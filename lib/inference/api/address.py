"""Where a server is: its address as a setting, and whether it is on this machine."""

import socket
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

HOST = r"(\[[0-9A-Fa-f:.]+(%[^\]\s]+)?\]|[^\s/?#@:\[\]]+)"  # an IPv6 address stands in brackets
Url = Annotated[str, Field(
    pattern=rf"^https?://([^\s/?#@]+@)?{HOST}(:\d{{1,5}})?(/\S*)?$",
    description="an http or https address such as http://localhost:8000/v1 or http://[::1]:8000/v1")]


def is_local(address: str) -> bool:
    """Whether an address is of this machine, by its name or its number (127.1, ::1, 0.0.0.0)."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):  # a name
        own = ("localhost", "localhost.localdomain", socket.gethostname().lower())
        return host in own or host.endswith(".localhost")
    number = ip_address(str(found[0][4][0]).partition("%")[0])
    number = getattr(number, "ipv4_mapped", None) or number
    return number.is_loopback or number.is_unspecified
