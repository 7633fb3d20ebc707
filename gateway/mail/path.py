"""Paths and parameters of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531 section 3.3)."""

from __future__ import annotations

import ipaddress
import re

from gateway.mail.domain import a_label
from gateway.model.envelope import Mailbox
from gateway.model.value import Value

_UNFIT = re.compile(r"[^!-*,-<>-~]")


_NOT_ENCODED = re.compile(r"\+(?![0-9A-F]{2})")


def mend_xtext(value: str) -> str:
    """A value that should be xtext, with each `+` that begins no octet taken literally: clients without encoding write
    `user+tag@example.com`, and the next server would refuse that."""
    return _NOT_ENCODED.sub("+2B", value)


def encode_xtext(text: str) -> str:
    """ASCII text as xtext: characters not allowed in a parameter become `+` and two hexadecimal digits."""
    return _UNFIT.sub(lambda found: f"+{ord(found[0]):02X}", text)


_LOCAL_OCTETS = 255
"""RFC 5321 section 4.5.3.1.1 asks for 64 at least; variable return paths in real mail are longer."""

# RFC 6531 section 3.3, without C1 controls, line and paragraph separators and surrogates (octets that are not UTF-8)
_WIDE = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.\-{_WIDE}]+"  # dots anywhere: real local parts have them doubled or last
_QUOTED = rf'"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*"'
_DOMAIN = rf"[A-Za-z0-9_.\-{_WIDE}]+"
_LITERAL = r"\[[A-Za-z0-9.:]{2,50}\]"
_ADDRESS = rf"(?P<local>{_ATOM}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})"
_ROUTE = rf"(?:@(?:{_DOMAIN}|{_LITERAL}),)*@(?:{_DOMAIN}|{_LITERAL}):"

_MAILBOX = re.compile(_ADDRESS)
# Letter case is ignored for one word only: compiling ranges as wide as these without case would take long.
_INNER = rf"(?:(?P<null>)|(?P<postmaster>(?ai:postmaster))|(?:{_ROUTE})?{_ADDRESS})"
_PATH = re.compile(rf"[ \t]*<{_INNER}>")
_BARE_PATH = re.compile(rf"[ \t]*(?:(?P<postmaster>(?ai:postmaster))|{_ADDRESS})(?![^ ])")
"""A path without its brackets, as devices write it."""
_ANY_PATH = re.compile(r"[ \t]*(?:<[^<>]*>|[^ \t<>]*)")
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~{_WIDE}]+))?")


class ParsedPath(Value):
    """The argument of MAIL or RCPT, read."""

    mailbox: Mailbox | None
    """None for the null reverse-path `<>`."""
    parameters: dict[str, str]
    """Values by upper-case keyword, as received; empty when there is none."""

    @property
    def wide(self) -> bool:
        """The path has characters beyond ASCII, which need the SMTPUTF8 parameter (RFC 6531 section 3.5)."""
        return self.mailbox is not None and not str(self.mailbox).isascii()


def parse_path(argument: str, keyword: str, bare: bool = False) -> ParsedPath | None:
    """The argument of MAIL or RCPT; `keyword` is `FROM` or `TO`. None when it breaks the syntax.

    A source route is ignored (RFC 5321 appendix C), as are blanks and tabs after the colon and one final dot of the
    domain. `<>` is only a reverse-path and `<postmaster>` only a forward-path. A parameter given twice is a syntax
    error. With `bare` the address may stand without its brackets.
    """
    text = _find_path(argument, keyword)
    if text is None:
        return None
    found = _PATH.match(text) or (_BARE_PATH.match(text) if bare else None)
    if not found:
        return None
    parameters = _parse_parameters(text[found.end() :])
    if parameters is None:
        return None
    if found.re is _PATH and found["null"] is not None:
        return ParsedPath(None, parameters) if keyword == "FROM" else None
    if found["postmaster"]:
        return ParsedPath(Mailbox(found["postmaster"], "", ""), parameters) if keyword == "TO" else None
    box = _make_mailbox(found["local"], found["domain"])
    return ParsedPath(box, parameters) if box else None


def replace_path(argument: str, sender: Mailbox) -> ParsedPath | None:
    """The argument of MAIL with `sender` in place of any path. None when the text around the path breaks the syntax."""
    text = _find_path(argument, "FROM")
    found = _ANY_PATH.match(text) if text is not None else None
    if text is None or found is None:
        return None
    parameters = _parse_parameters(text[found.end() :])
    return None if parameters is None else ParsedPath(sender, parameters)


def _find_path(argument: str, keyword: str) -> str | None:
    """The text after the keyword and its colon."""
    name, colon, text = argument.partition(":")
    return text if colon and name.upper() == keyword else None


def mailbox(text: str) -> Mailbox | None:
    """The mailbox written as `local@domain`, without brackets; None when it is not one. One final dot of the domain is
    left out: it marks the name as complete, and RFC 5321 section 4.1.2 does not allow it."""
    found = _MAILBOX.fullmatch(text)
    return _make_mailbox(found["local"], found["domain"]) if found else None


def _make_mailbox(local: str, domain: str) -> Mailbox | None:
    if len(local.encode()) > _LOCAL_OCTETS:
        return None
    if domain.startswith("["):
        return Mailbox(local, domain, domain) if _is_literal(domain[1:-1]) else None
    domain = domain.removesuffix(".")
    if domain.endswith((".", "-")) or domain.startswith("-") or ".-" in domain or "-." in domain:
        return None  # RFC 5321 section 4.1.2: a sub-domain starts and ends with a letter or digit
    ascii_domain = a_label(domain)
    return Mailbox(local, domain, ascii_domain) if ascii_domain else None


def _is_literal(content: str) -> bool:
    """RFC 5321 section 4.1.3: an IPv4 address, or `IPv6:` and an IPv6 address."""
    try:
        if content[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(content[5:])
        else:
            ipaddress.IPv4Address(content)
    except ValueError:
        return False
    return True


def _parse_parameters(text: str) -> dict[str, str] | None:
    if text and not text.startswith(" "):
        return None
    parameters: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        found = _PARAMETER.fullmatch(word)
        if not found or found[1].upper() in parameters:
            return None
        parameters[found[1].upper()] = found[2] or ""
    return parameters
