"""AUTH's dialogue (RFC 4954): PLAIN (RFC 4616) and LOGIN, from base64 to a name and a password."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable

from gateway.model.envelope import IPText
from gateway.model.reply import REPLIES, Reply
from gateway.service.listener.dialogue import Dialogue
from gateway.service.listener.inflow import SessionOver
from gateway.service.listener.listener_state import ListenerState
from gateway.service.listener.parameters import NOT_HERE

RESPONSE_OCTETS = 12_288
"""RFC 4954 section 4."""
_MOST_ATTEMPTS = 3
"""Failed logins after which a session ends."""

_LOGGED_IN = Reply(235, "7.0", "Authentication succeeded")
_TOO_MANY = Reply(421, "7.0", "Too many failed logins")
_NO_TLS = Reply(538, "7.11", "Encryption required for requested authentication mechanism")
_TWICE = Reply(503, "5.1", "You are authenticated already")
_NOT_NOW = Reply(503, "5.1", "AUTH is not permitted during a mail transaction")

_CANCELLED = Reply(501, "7.0", "Authentication cancelled")
_NOT_BASE64 = Reply(501, "5.2", "Cannot decode the response")
_NO_MECHANISM = Reply(504, "5.4", "Mechanism not supported")
_SYNTAX = Reply(501, "5.4", "Syntax: AUTH mechanism [initial-response]")
_USERNAME, _PASSWORD = "VXNlcm5hbWU6", "UGFzc3dvcmQ6"

Ask = Callable[[str], Awaitable[bytes | None]]
"""Sends a challenge, already in base64, and returns the client's line; None for one that is too long."""


class Login:
    """The authentication of one session's client."""

    def __init__(self, state: ListenerState, ask: Ask) -> None:
        self._state = state
        self._ask = ask
        self._failed = 0
        self.name = ""
        """Empty until then."""

    @property
    def due(self) -> bool:
        """The client has to log in before it may send mail."""
        return self._state.settings.credentials is not None and not self.name

    async def attempt(self, argument: str, client: IPText | None, secured: bool, dialogue: Dialogue) -> Reply:
        """AUTH. Raises SessionOver after too many failures."""
        credentials = self._state.settings.credentials
        if credentials is None or client is None:
            return NOT_HERE
        if not secured:
            return _NO_TLS
        if self.name or not dialogue.idle:
            return _TWICE if self.name else _NOT_NOW
        given = await _read_credentials(argument, self._ask)
        refusal = given if isinstance(given, Reply) else await credentials.check(*given, client)
        if refusal is None and not isinstance(given, Reply):
            failure = dialogue.login(given[0])
            self.name = "" if failure else given[0]
            return failure or _LOGGED_IN
        self._state.journal.note("login", client)
        self._failed += 1
        if self._failed >= _MOST_ATTEMPTS:
            raise SessionOver(_TOO_MANY, "too-many-logins")
        return refusal or REPLIES["internal"]


async def _read_credentials(argument: str, ask: Ask) -> tuple[str, str] | Reply:
    """Name and password from the client, or the reply that ends the attempt."""
    words = argument.split()
    if not 1 <= len(words) <= 2:
        return _SYNTAX
    mechanism = words[0].upper()
    if mechanism not in ("PLAIN", "LOGIN"):
        return _NO_MECHANISM
    initial = words[1].encode("utf-8", "surrogateescape") if len(words) == 2 else None
    if mechanism == "PLAIN":
        return _split_plain(_decode(await ask("") if initial is None else initial))
    name = _decode(await ask(_USERNAME) if initial is None else initial)
    if isinstance(name, Reply):
        return name
    password = _decode(await ask(_PASSWORD))
    return password if isinstance(password, Reply) else (name, password)


def _split_plain(message: str | Reply) -> tuple[str, str] | Reply:
    """RFC 4616 section 2: authorization identity, authentication identity, password. No client may act for another."""
    if isinstance(message, Reply):
        return message
    parts = message.split("\0")
    if len(parts) != 3 or parts[0] not in ("", parts[1]):
        return _NOT_BASE64 if len(parts) != 3 else Reply(535, "7.8", "Authentication credentials invalid")
    return parts[1], parts[2]


def _decode(response: bytes | None) -> str | Reply:
    if response == b"*":
        return _CANCELLED
    if response is None:
        return Reply(500, "5.6", "Authentication exchange line is too long")
    if response == b"=":  # RFC 4954 section 4: an initial response of no octets
        return ""
    try:
        return b64decode(response, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return _NOT_BASE64
