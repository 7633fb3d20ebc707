"""The types of setting values. Each type describes the fault of a bad value, and the correct form."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.mail.domain import a_label
from gateway.mail.path import mailbox


class Section(BaseModel):
    """Frozen; an unknown setting is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


DIRECTORY = "directory"
"""Key in the validation context: the directory that relative paths start from."""


def wrong(problem: str, fix: str) -> PydanticCustomError:
    """A bad value: its fault, and the value to write instead."""
    return PydanticCustomError("value", "{problem}", {"problem": problem, "fix": fix})


def check_form(pattern: str, fix: str) -> AfterValidator:
    """A string of this form; `fix` describes the form in words."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}..."
            raise wrong(f'"{shown}" does not fit here' if value else "is empty", fix)
        return value

    return AfterValidator(check)


_MOST_SHOWN = 60


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `address`, `[address]` or `[address]:port`. Raises ValueError."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        IPv6Address(host)
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(text)
        return host, _port(rest[1:]) if rest else None
    if text.count(":") > 1:
        return str(IPv6Address(text)), None
    host, colon, port = text.partition(":")
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ValueError(text)
    return int(text)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str | IPv4Network | IPv6Network | IPv4Address | IPv6Address) else value


def _check_network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        right = ip_network(value, strict=False)
    except ValueError:
        raise wrong(f'"{value}" is no IP network', "write it as 192.0.2.0/24 or 2001:db8::/32") from None
    raise wrong(f'"{value}" has address bits outside its mask', f'write "{right}", or one address without a mask')


def _check_domain(value: str) -> str:
    label = a_label(value)
    if label is None:
        raise wrong(f'"{value}" is no domain name' if value else "is empty", "write it as example.com")
    return label


def _check_listen_address(value: str) -> str:
    fix = 'write an address of this machine and a port, as "0.0.0.0:25" or "[::]:25"'
    try:
        host, port = split_host_port(value)
        ip_address(host)
    except ValueError:
        raise wrong(f'"{value}" is no address to listen on', fix) from None
    if port is None:
        raise wrong(f'"{value}" has no port', fix)
    return value


def _check_host(value: str) -> str:
    try:
        host, port = split_host_port(value)
    except ValueError:
        host, port = "", None
    if not (_is_address(host) or a_label(host)) or port == 0:
        said = f'"{value}" is no host' if value else "is empty"
        raise wrong(said, 'write "smtp.example.com", "smtp.example.com:25", "192.0.2.1" or "mx"')
    return value


def _check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise wrong("names no host", 'write at least one host, or "mx"')
    if "mx" in value and len(value) > 1:
        raise wrong('"mx" stands beside other hosts', 'write "mx" alone, or hosts only')
    return value


def _check_nameserver(value: str) -> str:
    try:
        host, _ = split_host_port(value)
        ip_address(host)
    except ValueError:
        raise wrong(f'"{value}" is no address of a name server', 'write "192.0.2.53" or "192.0.2.53:53"') from None
    return value


def _check_certificate_name(value: str) -> str:
    if a_label(value.removeprefix("*.")) is None:
        raise wrong(f'"{value}" is no name that a certificate carries', 'write "smtp.example.com" or "*.example.com"')
    return value.lower()


def _check_web_address(value: str) -> str:
    parts = urlsplit(value)
    if value and not (parts.scheme == "https" and parts.hostname):
        raise wrong(f'"{value}" is not an https address', 'write "https://host/path"')
    return value


def _check_mailbox(value: str) -> str:
    found = mailbox(value)
    if found is None or not found.domain or not value.isascii():
        raise wrong(f'"{value}" is no mail address', 'write "user@example.com"')
    return value


def _start_from_directory(value: Path, info: ValidationInfo) -> Path:
    """A relative path starts from the directory of the configuration file, wherever the gateway was started."""
    directory = (info.context or {}).get(DIRECTORY)
    return directory / value if directory else value


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


Network = IPv4Network | IPv6Network
Networks = Annotated[
    tuple[Annotated[Network, BeforeValidator(_check_network)], ...],
    BeforeValidator(_one_or_many),
]
Addresses = Annotated[tuple[IPv4Address | IPv6Address, ...], BeforeValidator(_one_or_many)]
Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
DomainName = Annotated[str, AfterValidator(_check_domain)]
DomainNames = Annotated[tuple[DomainName, ...], BeforeValidator(_one_or_many)]
ListenAddress = Annotated[str, AfterValidator(_check_listen_address)]
Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(_check_host)], ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_check_hosts),
]
NameServers = Annotated[
    tuple[Annotated[str, AfterValidator(_check_nameserver)], ...],
    BeforeValidator(_one_or_many),
]
CertificateNames = Annotated[
    tuple[Annotated[str, AfterValidator(_check_certificate_name)], ...],
    BeforeValidator(_one_or_many),
]
WebAddress = Annotated[str, AfterValidator(_check_web_address)]
Mailboxes = Annotated[tuple[Annotated[str, AfterValidator(_check_mailbox)], ...], BeforeValidator(_one_or_many)]
File = Annotated[Path, AfterValidator(_start_from_directory)]
Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
