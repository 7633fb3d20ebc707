"""What a listener is told."""

from __future__ import annotations

import socket
import ssl
from ipaddress import IPv4Network, IPv6Network

from gateway.config.edge import Limits
from gateway.model.value import Value, field
from gateway.service.credentials import Credentials

EXTENSIONS = ("PIPELINING", "SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING")
"""The service extensions that a listener speaks, in the order it names them."""


class ListenerSettings(Value):
    """One listening socket."""

    name: str
    hostname: str
    """Our name in the greeting and in the reply to EHLO."""
    address: str = ""
    """`host:port`, `[::1]:25`; port 0 takes a free one. Not used when `sock` is given."""
    sock: socket.socket | None = None
    """A socket that is bound already."""
    tls: ssl.SSLContext | None = None
    """For STARTTLS; None: not offered. TLS 1.2 or newer (RFC 8996)."""
    implicit_tls: bool = False
    """TLS from the first octet (RFC 8314 section 3), after the PROXY header where one is due."""
    proxy_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Balancers that must send a PROXY header; nobody else may."""
    xclient_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """TCP peers that may say by XCLIENT for whom they speak."""
    credentials: Credentials | None = None
    """For AUTH, under TLS only; then no mail is taken before it. None: AUTH is not spoken."""
    limits: Limits = field(default_factory=Limits)
    extensions: tuple[str, ...] = EXTENSIONS
    """What EHLO names, in order. What is missing of `EXTENSIONS` is not spoken; a word beyond them is only named."""
    devices: bool = False
    """MAIL and RCPT are read as devices write them: without brackets, and a forced sender's MAIL whatever it says."""
    debug: bool = False
    """Each command and its reply is an event of level debug."""
    carry: bool = False
    """Bare newlines in a body are carried where that is safe."""
    require_tls: bool = False
    """No mail before STARTTLS."""
    banner: str = "ESMTP Waypost"
    """What follows our name in the greeting."""
    greet_pause: float = 0.0
    """Seconds that a client must be silent before it is greeted. Who talks earlier is cut off in any case."""

    def name_extensions(self, secured: bool, may_introduce: bool) -> tuple[str, ...]:
        """EHLO's lines: SIZE with its limit (RFC 1870), STARTTLS not under TLS (RFC 3207 section 4.2), AUTH only there
        (RFC 4954 section 4), XCLIENT only for listed peers."""
        hidden = "STARTTLS" if secured or self.tls is None else ""
        words = [
            f"SIZE {self.limits.message_size}" if word == "SIZE" else word for word in self.extensions if word != hidden
        ]
        if self.credentials is not None and secured:
            words.append("AUTH PLAIN LOGIN")
        if may_introduce:
            words.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
        return tuple(words)

    def check(self) -> None:
        """Raises ValueError when the settings contradict themselves."""
        if self.tls is not None and self.tls.minimum_version < ssl.TLSVersion.TLSv1_2:
            raise ValueError(f"listener {self.name}: TLS below 1.2 is allowed (RFC 8996)")
        if self.tls is None and (self.require_tls or self.implicit_tls or self.credentials is not None):
            raise ValueError(f"listener {self.name}: TLS is required and there is no certificate")
