"""XCLIENT: a listed peer says for whom it speaks (https://www.postfix.org/XCLIENT_README.html)."""

from __future__ import annotations

import ipaddress
import re

from gateway.model.address import ip_text
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.ports import Connection
from gateway.service.listener.command import is_client_name

_IGNORED = frozenset({"NAME", "PORT", "PROTO", "LOGIN", "DESTADDR", "DESTPORT"})
"""ADDR and HELO count. A LOGIN proves nothing here, and a NAME may be no more than what reverse DNS says."""
_NOTHING = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*")
_CODED = re.compile(r"\+([0-9A-Fa-f]{2})")
DENIED = Reply(550, "7.0", "XCLIENT is not for you")
_SYNTAX = Reply(501, "5.4", "Syntax: XCLIENT attribute=value ...")


def introduce(connection: Connection, argument: str) -> Connection | Reply:
    """The connection as the peer describes it. What it leaves out stays as it was."""
    attributes = _read(argument)
    if attributes is None:
        return _SYNTAX
    for name, value in attributes.items():
        known = value.upper() not in _NOTHING
        if name == "ADDR" and not known:
            why = "the XCLIENT peer does not know the client's address"
            connection = replace(connection, client=connection.peer, source=ClientSource.XCLIENT, unknown=why)
        elif name == "ADDR":
            try:
                address = ipaddress.ip_address(value[5:] if value.upper().startswith("IPV6:") else value)
            except ValueError:
                return Reply(501, "5.4", "ADDR is no IP address")
            if getattr(address, "scope_id", None):
                return Reply(501, "5.4", "ADDR is no address of the internet")
            client = ip_text(str(address))
            connection = replace(connection, client=client, source=ClientSource.XCLIENT, unknown="")
        elif name == "HELO":
            if known and not is_client_name(value):
                return Reply(501, "5.4", "HELO is no name")
            connection = replace(connection, helo=value if known else "")
        elif name not in _IGNORED:
            return Reply(501, "5.4", "Attribute not known")
    return connection


def _read(argument: str) -> dict[str, str] | None:
    """Upper-case names and decoded values; None when malformed, or a name comes twice."""
    attributes: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        if not equals or not _XTEXT.fullmatch(value) or name.upper() in attributes:
            return None
        attributes[name.upper()] = _CODED.sub(lambda found: chr(int(found[1], 16)), value)
    return attributes or None
