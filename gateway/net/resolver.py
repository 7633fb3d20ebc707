"""DNS lookups (RFC 1035, 2308, 6891) for the Resolver port. The one file that imports dnspython."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.tokenizer
import dns.zonefile

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.net.answers import FAILED_SECONDS, AnswerCache, Lookups
from gateway.net.zone import MOST_CNAMES, Zone, ZoneError, build_zone, collect_zone

_EDNS_PAYLOAD = 1232
"""Octets that cross any path unfragmented (DNS flag day 2020); longer answers come by TCP."""
_MOST_POSITIVE = 86_400.0
_MOST_NEGATIVE = 3600.0
_NEGATIVE = 300.0
_TRY_SECONDS = 2.0
_BRACKETED = re.compile(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?")


class DnsResolver:
    """Looks names up at recursive nameservers. Each question is under way once, however many ask it; a slow domain
    delays no other, nor does a client that asks for many. Never raises."""

    def __init__(self, nameservers: Sequence[str], query_seconds: float, clock: Callable[[], float]) -> None:
        """`nameservers` as `address` or `address:port`, those of /etc/resolv.conf when empty; `query_seconds` bounds
        one lookup with all its retries; `clock` gives seconds that never go back. Raises ValueError for a nameserver
        that is no address."""
        self._servers = [_parse_server(server) for server in nameservers or _system_servers()]
        self._try_seconds = min(_TRY_SECONDS, query_seconds / 2)
        self._cache = AnswerCache(clock)
        self._lookups = Lookups(self._resolve, query_seconds, self._cache)

    def known(self, question: Question) -> Answer | None:
        """See ports.Resolver."""
        return self._cache.get(question)

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        """See ports.Resolver."""
        return await self._lookups.fetch(questions, asker)

    async def close(self) -> None:
        """End all lookups under way."""
        await self._lookups.close()

    async def _resolve(self, question: Question) -> tuple[Answer, float]:
        """The answer and for how long it holds, aliases followed. Raises TimeoutError."""
        try:
            name, kind = _to_name(question.name), dns.rdatatype.from_text(question.type)
        except (dns.exception.DNSException, ValueError):
            return Answer(DnsStatus.NXDOMAIN), _NEGATIVE
        authentic, seconds = True, _MOST_POSITIVE
        for hop in range(MOST_CNAMES + 1):
            response = await self._exchange(name, kind)
            if response is None:
                break
            chain = response.resolve_chaining()
            authentic = authentic and bool(response.flags & dns.flags.AD)
            seconds = min(seconds, chain.minimum_ttl)
            if chain.answer is not None:
                return Answer(DnsStatus.FOUND, tuple(_present(record) for record in chain.answer), authentic), seconds
            is_partial = bool(chain.cnames) and response.rcode() == dns.rcode.NOERROR and not _has_soa(response)
            if not is_partial:
                # An NXDOMAIN is about the end of the chain (RFC 6604 section 3): a name with a CNAME exists.
                exists = hop > 0 or bool(chain.cnames) or response.rcode() == dns.rcode.NOERROR
                status = DnsStatus.NODATA if exists else DnsStatus.NXDOMAIN
                return Answer(status, (), authentic), min(seconds, _MOST_NEGATIVE)
            name = chain.canonical_name
        return Answer(DnsStatus.SERVFAIL), FAILED_SECONDS

    async def _exchange(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.QueryMessage | None:
        """The first response that says something, None when every server fails. The caller bounds the time."""
        failures = 0
        for address, port in itertools.cycle(self._servers):
            query = dns.message.make_query(name, kind, use_edns=0, payload=_EDNS_PAYLOAD)
            # Asks a validating resolver for its verdict (RFC 6840 section 5.7).
            query.flags |= dns.flags.AD
            try:
                response = await self._send(query, address, port)
                if response.rcode() in _NO_EDNS:
                    query.use_edns(False)
                    response = await self._send(query, address, port)
            except dns.exception.Timeout:
                continue
            except (dns.exception.DNSException, OSError, EOFError):
                response = None
            if isinstance(response, dns.message.QueryMessage) and response.rcode() in _CONCLUSIVE:
                return response
            failures += 1
            if failures >= len(self._servers):
                return None
        return None

    async def _send(self, query: dns.message.QueryMessage, address: str, port: int) -> dns.message.Message:
        udp = await _open_udp(address)
        try:
            response, _ = await dns.asyncquery.udp_with_fallback(
                query, address, self._try_seconds, port, ignore_unexpected=True, ignore_errors=True, udp_sock=udp
            )
            return response
        finally:
            await udp.close()


async def _open_udp(address: str) -> Any:
    """A socket for one exchange. uvloop forgets to close one whose making is cancelled."""
    backend: Any = dns.asyncbackend.get_default_backend()
    making = asyncio.ensure_future(backend.make_socket(dns.inet.af_for_address(address), socket.SOCK_DGRAM))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(lambda made: made.result().protocol.close() if made.exception() is None else None)
        raise


class ZoneResolver:
    """The Resolver port over a zone: every answer is known, no network is used."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def known(self, question: Question) -> Answer:
        """See ports.Resolver; never None."""
        return self._zone.find(question)

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        """See ports.Resolver."""
        return {question: self._zone.find(question) for question in questions}


def read_zone(text: str) -> Zone:
    """A zone from JSON (see `build_zone`) or from a master file (RFC 1035 section 5) with origin `.`; no SOA is needed.
    Raises ZoneError."""
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        try:
            return build_zone(json.loads(text))
        except json.JSONDecodeError as error:
            raise ZoneError(f"line {error.lineno}: {error.msg}") from error
    rows: Any = _Rows()
    tokens = dns.tokenizer.Tokenizer(text, "zone")
    directives = ("$ORIGIN", "$TTL")
    try:
        dns.zonefile.Reader(tokens, dns.rdataclass.IN, rows, allow_directives=directives, default_ttl=300).read()
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"not a master file: {error}") from error
    return collect_zone(rows.found)


class _Rows:
    """What dnspython's reader writes records into: unlike its own zones, with any number of SOAs or none."""

    manager = dns.zonefile.RRSetsReaderManager()

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, name: dns.name.Name, _ttl: int, record: Any) -> None:
        owner = b".".join(name.labels[:-1]).decode("latin-1")
        self.found.append((owner, dns.rdatatype.to_text(record.rdtype), _present(record)))

    def check_put_rdataset(self, _check: object) -> None:
        """Nothing is put."""

    def _set_origin(self, _origin: object) -> None:
        """The reader keeps it."""


_CONCLUSIVE = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
_NO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP)
"""Said by a server that does not know EDNS: it is asked without (RFC 6891 section 7)."""


def _to_name(name: str) -> dns.name.Name:
    """An absolute name, never completed by a search list, its labels taken as they stand."""
    return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])


def _present(record: Any) -> str:
    """A record's data as Answer has it; names in lower case without final dot, odd octets escaped."""
    match dns.rdatatype.to_text(record.rdtype):
        case "TXT":
            return b"".join(record.strings).decode("latin-1")
        case "A" | "AAAA":
            return str(record.address)
        case "MX":
            return f"{record.preference} {_host(record.exchange)}"
        case "CNAME" | "NS" | "PTR":
            return _host(record.target)
        case "SRV":
            return f"{record.priority} {record.weight} {record.port} {_host(record.target)}"
        case "TLSA":
            return f"{record.usage} {record.selector} {record.mtype} {record.cert.hex()}"
        case "SOA":
            numbers = (record.serial, record.refresh, record.retry, record.expire, record.minimum)
            return " ".join([_host(record.mname), _host(record.rname), *map(str, numbers)])
    return str(record.to_text())


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _has_soa(response: dns.message.Message) -> bool:
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _parse_server(text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`."""
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        address, port = bracketed[1], bracketed[2] or ""
    else:
        address, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
    if not dns.inet.is_address(address) or not (port.isdecimal() or address == text or bracketed):
        raise ValueError(f"nameserver {text!r} is neither `address` nor `address:port`")
    return address, int(port or 53)


def _system_servers() -> Sequence[str]:
    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        servers = []
    # As the C library does without a configuration: the resolver on this host.
    return [server for server in servers if isinstance(server, str)] or ["127.0.0.1"]
