"""The hosts of a backend, and delivery to the MX of each recipient's domain."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.dnsdata import DnsStatus
from gateway.model.envelope import ip_text
from gateway.net import mx
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Family, Host, HostFinder, NoHost, is_of_this_machine, parse_host
from gateway.net.smtp_backend import SmtpDialer
from gateway.net.smtp_session import BackendSession
from gateway.net.tls import match_name
from gateway.service.tally import SharedCounts
from tests.support.sending import FixedResolver, make_claim, reader
from tests.support.smtp_sink import Sink

INSIDE = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1"),
    *("2002:7f00:1::1", "64:ff9b::a00:1", "::127.0.0.1"),
)
ZONE: dict[str, dict[str, list[str] | DnsStatus]] = {
    "two.example": {"MX": ["20 b.two.example", "10 a.two.example", "20 c.two.example"]},
    "a.two.example": {"A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "AAAA": ["2001:db8::1"]},
    "b.two.example": {"A": ["192.0.2.11"]},
    "c.two.example": {"A": ["192.0.2.12"]},
    "none.example": {"MX": ["0 "]},
    "dot.example": {"MX": ["0 ."]},
    "implicit.example": {"A": ["192.0.2.5"]},
    "empty.example": {"TXT": ["v=spf1 -all"]},
    "slow.example": {"MX": DnsStatus.TIMEOUT},
    "broken.example": {"MX": ["10 gone.example"]},
    "flaky.example": {"MX": ["10 fail.example", "20 b.two.example"]},
    "fail.example": {"A": DnsStatus.SERVFAIL, "AAAA": DnsStatus.SERVFAIL},
    "ours.example": {"MX": ["10 GW.example", "20 b.two.example"]},
    "backup.example": {"MX": ["5 b.two.example", "10 gw.example", "10 c.two.example", "20 a.two.example"]},
    "six.example": {"AAAA": ["2001:db8::6"]},
    "both.example": {"A": ["127.0.0.1", "192.0.2.7"]},
    "literal.example": {"MX": ["1 127.0.0.1"]},
    "localhost.example": {"MX": ["1 localhost"]},
    **{f"s{number}.example": {"AAAA" if ":" in address else "A": [address]} for number, address in enumerate(INSIDE)},
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests may have any addresses, except those of the zone."""
    monkeypatch.setattr(mx, "is_of_this_machine", lambda address: False)


async def find(hosts: tuple[str, ...], domain: str = "", family: Family = "any", jitter: float = 0.5) -> list[str]:
    finder = HostFinder(hosts, family, FixedResolver(ZONE), "gw.example", lambda: jitter)
    return [f"{host.name} {address} {host.port}" async for host, address in finder.candidates(domain)]


def draws(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mx.example", Host("mx.example", 25)),
        ("mx.example:2525", Host("mx.example", 2525)),
        ("[::1]:2525", Host("::1", 2525)),
        ("[::1]", Host("::1", 25)),
        ("::1", Host("::1", 25)),
        ("192.0.2.1:26", Host("192.0.2.1", 26)),
    ],
)
def test_parse_host(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", ":25", "a:b", "[::1", "[::1]25", "a:25x"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        parse_host(text)


async def test_by_preference_two_addresses_each() -> None:
    assert (await find(("mx",), "two.example"))[:3] == [
        "a.two.example 192.0.2.1 25",
        "a.two.example 192.0.2.2 25",
        "b.two.example 192.0.2.11 25",
    ]
    assert await find(("mx",), "two.example", "ipv6") == ["a.two.example 2001:db8::1 25"]


async def test_equal_preference_in_random_order() -> None:
    orders = set()
    for first, second in ((0.1, 0.9), (0.9, 0.1)):
        finder = HostFinder(("mx",), "any", FixedResolver(ZONE), "gw.example", draws(first, 0.5, second))
        orders.add(tuple([host.name async for host, _ in finder.candidates("two.example")][2:]))
    assert orders == {("b.two.example", "c.two.example"), ("c.two.example", "b.two.example")}


@pytest.mark.parametrize("domain", ["none.example", "dot.example"])
async def test_null_mx(domain: str) -> None:
    with pytest.raises(NoHost) as caught:
        await find(("mx",), domain)
    assert (str(caught.value.reply)[:11], caught.value.scope) == ("556 5.1.10 ", Scope.RECIPIENT)


async def test_implicit_mx() -> None:
    assert await find(("mx",), "implicit.example") == ["implicit.example 192.0.2.5 25"]
    assert await find(("mx",), "six.example") == ["six.example 2001:db8::6 25"]
    assert await find(("mx",), "[192.0.2.9]") == ["192.0.2.9 192.0.2.9 25"]
    assert await find(("mx",), "[IPv6:2001:db8::9]") == ["2001:db8::9 2001:db8::9 25"]


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        ("nowhere.example", "550 5.1.2"),
        ("empty.example", "550 5.1.2"),
        ("[no]", "550 5.1.2"),
        ("", "550 5.1.2"),
        ("slow.example", "451 4.4.3"),
        ("broken.example", "451 4.4.4"),
        ("ours.example", "554 5.4.6"),
    ],
)
async def test_no_host(domain: str, reply: str) -> None:
    with pytest.raises(NoHost) as caught:
        await find(("mx",), domain)
    assert (str(caught.value.reply)[:9], caught.value.scope) == (reply, Scope.RECIPIENT)


async def test_only_hosts_preferred_to_ourselves() -> None:
    assert await find(("mx",), "backup.example") == ["b.two.example 192.0.2.11 25"]


async def test_host_whose_address_is_unknown_is_passed_over() -> None:
    assert await find(("mx",), "flaky.example") == ["b.two.example 192.0.2.11 25"]


@pytest.mark.parametrize(
    "domain",
    [
        *(f"s{number}.example" for number in range(len(INSIDE))),
        *("literal.example", "localhost.example", "[127.0.0.1]", "[IPv6:::1]", "[10.9.8.7]", "[0.0.0.0]"),
    ],
)
async def test_no_domain_leads_inside(domain: str) -> None:
    with pytest.raises(NoHost) as caught:
        await find(("mx",), domain)
    assert (str(caught.value.reply)[:9], caught.value.scope) == ("550 5.4.4", Scope.RECIPIENT)
    assert "mx_networks" in str(caught.value.reply)


async def test_no_domain_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "is_of_this_machine", lambda address: address == "192.0.2.5")
    with pytest.raises(NoHost):
        await find(("mx",), "implicit.example")
    assert await find(("192.0.2.5",)) == ["192.0.2.5 192.0.2.5 25"], "an admin may"


def test_which_addresses_are_of_this_machine() -> None:
    assert is_of_this_machine(ip_text("127.0.0.1"))
    assert not is_of_this_machine(ip_text("198.51.100.1"))


async def test_the_hosts_outside_are_used() -> None:
    assert await find(("mx",), "both.example") == ["both.example 192.0.2.7 25"]


async def test_a_setting_allows_a_network_inside() -> None:
    allowed = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"))
    finder = HostFinder(("mx",), "any", FixedResolver(ZONE), "gw.example", lambda: 0.5, allowed)
    assert [address async for _, address in finder.candidates("s3.example")] == ["10.1.2.3"]
    assert [address async for _, address in finder.candidates("[127.0.0.1]")] == ["127.0.0.1"]
    with pytest.raises(NoHost):
        _ = [address async for _, address in finder.candidates("s5.example")]


async def test_configured_hosts() -> None:
    assert await find(("b.two.example:26", "192.0.2.99")) == ["b.two.example 192.0.2.11 26", "192.0.2.99 192.0.2.99 25"]
    assert await find(("localhost:26",)) == ["localhost 127.0.0.1 26", "localhost ::1 26"]
    assert await find(("localhost",), family="ipv4") == ["localhost 127.0.0.1 25"]


async def test_configured_host_without_address_is_our_slip() -> None:
    with pytest.raises(NoHost) as caught:
        await find(("gone.example",))
    assert (caught.value.reply.transient, caught.value.scope) == (True, Scope.OURS)
    with pytest.raises(NoHost) as caught:
        await find(("fail.example",))
    assert (caught.value.reply.enhanced, caught.value.scope) == ("4.4.3", Scope.SITE)


@pytest.mark.parametrize(
    ("expected", "carried", "good"),
    [
        (["mx.example"], ["MX.example"], True),
        (["mx.example"], ["*.example"], False),
        (["mx.corp.example"], ["*.corp.example"], True),
        (["a.mx.corp.example"], ["*.corp.example"], False),
        (["*.corp.example"], ["mx.corp.example"], True),
        (["*.corp.example"], ["*.corp.example"], True),
        (["*.corp.example"], ["a.b.corp.example"], False),
        (["*.corp.example"], ["corp.example"], False),
        (["other.example", "mx.example"], ["x.example", "mx.example"], True),
        (["192.0.2.1"], ["192.0.2.1"], True),
        (["192.0.2.1"], ["*.0.2.1"], False),
        (["2001:db8::1"], ["2001:DB8:0:0:0:0:0:1"], True),
        (["mx.example"], [], False),
        (["mx.example"], ["*"], False),
        (["mx.example"], ["*.*"], False),
        (["mx.example"], [""], False),
    ],
)
def test_certificate_names(expected: list[str], carried: list[str], good: bool) -> None:
    assert match_name(expected, carried) is good


class PortDialer:
    """Dials every host at one port of this machine."""

    def __init__(self, port: int) -> None:
        self._dialer = SmtpDialer(Settings(hosts=("mx",)), "gw.example")
        self._port = port
        self.dialled: list[str] = []

    async def open(self, host: Host, address: str, deadline: float) -> BackendSession:
        self.dialled.append(f"{host.name} {address}")
        return await self._dialer.open(Host(host.name, self._port), "127.0.0.1", deadline)  # type: ignore[arg-type]


async def deliver_direct(sink: Sink, *rcpts: str) -> tuple[tuple[Outcome, ...], list[str]]:
    dialer = PortDialer(sink.port)
    hosts = HostFinder(("mx",), "any", FixedResolver(ZONE), "gw.example", lambda: 0.5)
    backend = HostBackend("direct", Settings(hosts=("mx",)), hosts, dialer, SharedCounts().tally())  # type: ignore[arg-type]
    claim = make_claim(rcpts=rcpts)
    outcomes = await backend.deliver(claim, reader(claim))
    await backend.close()
    return outcomes, dialer.dialled


async def test_each_domain_goes_to_its_own_hosts() -> None:
    async with Sink() as sink:
        outcomes, dialled = await deliver_direct(
            sink, "a@two.example", "b@none.example", "c@implicit.example", "d@slow.example", "e@two.example"
        )
        assert dialled == ["a.two.example 192.0.2.1", "implicit.example 192.0.2.5"]
        assert [mail.rcpts for mail in sink.mails] == [
            ["TO:<a@two.example>", "TO:<e@two.example>"],
            ["TO:<c@implicit.example>"],
        ]
        assert [one.kind for one in outcomes] == [
            OutcomeKind.DELIVERED,
            OutcomeKind.FAILED,
            OutcomeKind.DELIVERED,
            OutcomeKind.DEFERRED,
            OutcomeKind.DELIVERED,
        ]
        assert [one.remote_mta for one in outcomes] == ["a.two.example", "", "implicit.example", "", "a.two.example"]


async def test_dead_domain_is_not_the_backends_trouble() -> None:
    async with Sink() as sink:
        await sink.shut()
        (outcome,), dialled = await deliver_direct(sink, "a@two.example")
    assert (outcome.kind, outcome.scope) == (OutcomeKind.DEFERRED, Scope.RECIPIENT)
    assert len(dialled) == 4
