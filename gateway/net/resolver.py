"""DNS lookups (RFC 1035, 2308, 6891) for the Resolver port. The one file that imports dnspython."""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any

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
from gateway.model.value import Value
from gateway.net.answers import FAILED_SECONDS, AnswerCache, Lookups
from gateway.net.datagrams import TRY_SECONDS, DatagramClient, Plain, encode_question, is_truncated, read_plain
from gateway.net.zone import MOST_CNAMES, Zone, ZoneError, build_zone, collect_zone

_EDNS_PAYLOAD = 1232
"""Octets that cross any path unfragmented (DNS flag day 2020); longer answers come by TCP."""
_MOST_POSITIVE = 86_400.0
_MOST_NEGATIVE = 3600.0
_NEGATIVE = 300.0
_BRACKETED = re.compile(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?")


class DnsResolver:
    """Looks names up at recursive nameservers. Each question is under way once, however many ask it. A slow domain
    delays no other, and a client with many questions delays no other client. Never raises."""

    def __init__(self, nameservers: Sequence[str], query_seconds: float, clock: Callable[[], float]) -> None:
        """`nameservers` as `address` or `address:port`, those of /etc/resolv.conf when empty; `query_seconds` limits
        one lookup with all its retries; `clock` gives seconds that never go back. Raises ValueError for a nameserver
        that is not an address."""
        servers = map(_parse_server, nameservers or _system_servers())
        self._servers = [DatagramClient(address, port) for address, port in servers]
        self._try_seconds = min(TRY_SECONDS, query_seconds / 2)
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
        for server in self._servers:
            server.close()

    async def _resolve(self, question: Question) -> tuple[Answer, float]:
        """The answer and its lifetime, aliases followed. Raises TimeoutError."""
        octets = encode_question(question.name, question.type)
        if octets is not None:
            response = await self._exchange(octets)
            if isinstance(response, Plain):
                return response.answer, response.seconds
        else:
            octets = _compose_question(question)
            if octets is None:
                return Answer(DnsStatus.NXDOMAIN), _NEGATIVE
            response = await self._exchange(octets)
        return await self._follow(octets, response)

    async def _follow(self, octets: bytes, response: Plain | dns.message.QueryMessage | None) -> tuple[Answer, float]:
        """The answer at the end of aliases that continue beyond one response."""
        authentic, seconds = True, _MOST_POSITIVE
        for hop in range(MOST_CNAMES + 1):
            if response is None:
                break
            if isinstance(response, Plain):
                answer = response.answer
                status = DnsStatus.NODATA if answer.status is DnsStatus.NXDOMAIN else answer.status
                found = Answer(status, answer.records, authentic and answer.authentic)
                return found, min(seconds, response.seconds)
            read = read_message(response, hop)
            authentic = authentic and bool(response.flags & dns.flags.AD)
            seconds = min(seconds, read.seconds)
            if read.answer is not None:
                return Answer(read.answer.status, read.answer.records, authentic), seconds
            if hop < MOST_CNAMES:
                octets = read.further.to_digestable() + octets[-4:]
                response = await self._exchange(octets)
        return Answer(DnsStatus.SERVFAIL), FAILED_SECONDS

    async def _exchange(self, question: bytes) -> Plain | dns.message.QueryMessage | None:
        """The first conclusive response, None when every server fails. The caller limits the time."""
        failures = 0
        for server in itertools.cycle(self._servers):
            try:
                response = await self._ask(server, question, edns=True)
                if isinstance(response, dns.message.Message) and response.rcode() in _NO_EDNS:
                    response = await self._ask(server, question, edns=False)
            except (TimeoutError, dns.exception.Timeout):
                continue
            except (dns.exception.DNSException, OSError, EOFError, ValueError):
                response = None
            if isinstance(response, Plain):
                return response
            if isinstance(response, dns.message.QueryMessage) and response.rcode() in _CONCLUSIVE:
                return response
            failures += 1
            if failures >= len(self._servers):
                return None
        return None

    async def _ask(self, server: DatagramClient, question: bytes, edns: bool) -> Plain | dns.message.Message:
        """One server's response, by TCP if it does not fit. Raises TimeoutError, OSError, DNSException."""
        octets = await server.ask(question, self._try_seconds, edns)
        plain = read_plain(octets, question)
        if plain is not None:
            return plain
        if not is_truncated(octets):
            return dns.message.from_wire(octets, ignore_trailing=False)
        address, port = server.address
        name, _ = dns.name.from_wire(question, 0)
        kind = dns.rdatatype.RdataType.make(int.from_bytes(question[-4:-2], "big"))
        query = dns.message.make_query(name, kind, use_edns=0 if edns else None, payload=_EDNS_PAYLOAD)
        query.flags |= dns.flags.AD
        return await dns.asyncquery.tcp(query, address, self._try_seconds, port)


class MessageRead(Value):
    """A response read by dnspython."""

    answer: Answer | None
    """None when its aliases lead to a name that it does not answer."""
    seconds: float
    """Seconds for which it may be kept."""
    further: dns.name.Name
    """The name at the end of its aliases."""


def read_message(response: dns.message.QueryMessage, hop: int) -> MessageRead:
    """The answer in a response, or the name to ask for next. `hop` counts the names asked for before. Raises
    DNSException for circular aliases."""
    chain = response.resolve_chaining()
    authentic = bool(response.flags & dns.flags.AD)
    further: dns.name.Name = chain.canonical_name
    seconds: float = min(_MOST_POSITIVE, chain.minimum_ttl)
    if chain.answer is not None:
        records = tuple(_present(record) for record in chain.answer)
        return MessageRead(Answer(DnsStatus.FOUND, records, authentic), seconds, further)
    if chain.cnames and response.rcode() == dns.rcode.NOERROR and not _has_soa(response):
        return MessageRead(None, seconds, further)
    # An NXDOMAIN concerns the end of the chain (RFC 6604 section 3): a name with a CNAME exists.
    exists = hop > 0 or bool(chain.cnames) or response.rcode() == dns.rcode.NOERROR
    status = DnsStatus.NODATA if exists else DnsStatus.NXDOMAIN
    return MessageRead(Answer(status, (), authentic), min(seconds, _MOST_NEGATIVE), further)


def _compose_question(question: Question) -> bytes | None:
    """The question section for any name and type; None for a name that cannot exist."""
    try:
        name, kind = _to_name(question.name), dns.rdatatype.from_text(question.type)
    except (dns.exception.DNSException, ValueError):
        return None
    return name.to_digestable() + struct.pack("!HH", kind, dns.rdataclass.IN)


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
    """The target of dnspython's reader: unlike its own zones, it accepts any number of SOAs or none."""

    manager = dns.zonefile.RRSetsReaderManager()

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, name: dns.name.Name, _ttl: int, record: Any) -> None:
        owner = b".".join(name.labels[:-1]).decode("latin-1")
        self.found.append((owner, dns.rdatatype.to_text(record.rdtype), _present(record)))

    def check_put_rdataset(self, _check: object) -> None:
        """Accepts everything."""

    def _set_origin(self, _origin: object) -> None:
        """Nothing to do: the reader keeps it."""


_CONCLUSIVE = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
_NO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP)
"""Codes of a server that does not know EDNS: it is asked without (RFC 6891 section 7)."""


def _to_name(name: str) -> dns.name.Name:
    """An absolute name, never completed by a search list, with its labels unchanged."""
    return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])


def _present(record: Any) -> str:
    """A record's data in the form of Answer: names in lower case without final dot, odd octets escaped."""
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
    # Like the C library without a configuration: the resolver on this host.
    return [server for server in servers if isinstance(server, str)] or ["127.0.0.1"]
