"""More than sixty ways to have mail sent by us without permission; all are refused, and nothing leaves."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.gateway_process import send
from tests.support.smarthost import BALANCER, DEVICE, GOOGLE, MACHINE, MICROSOFT, OURS, SECRET, STRANGER, THEIRS, Pair

pytestmark = pytest.mark.slow

STAMP = f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n"
OTHER = f"X-MS-Exchange-CrossTenant-Id: {THEIRS}\r\n"
HIDDEN = f"X-Corp-Relay: {SECRET}\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("relay"))
    made.a.listener = f'xclient_from = ["{BALANCER}"]'
    made.start()
    yield made
    made.stop()


def mx(source: str = STRANGER) -> Callable[[Pair], smtplib.SMTP]:
    return lambda pair: pair.a.smtp(source=source)


def machine(source: str) -> Callable[[Pair], smtplib.SMTP]:
    return lambda pair: pair.machine(source)


def provider(address: str) -> Callable[[Pair], smtplib.SMTP]:
    return lambda pair: pair.provider(address)


def login(name: str) -> Callable[[Pair], smtplib.SMTP]:
    return lambda pair: pair.login(name)


def no_login(pair: Pair) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", pair.submission, timeout=20)
    client.starttls(context=pair.a.client_tls)
    client.ehlo()
    return client


def by_command(opened: Callable[[Pair], smtplib.SMTP], command: str) -> Callable[[Pair], smtplib.SMTP]:
    """After a command that claims another identity, with any reply to it."""

    def connect(pair: Pair) -> smtplib.SMTP:
        client = opened(pair)
        client.docmd(command)
        client.ehlo()
        return client

    return connect


@dataclass(frozen=True)
class Way:
    """One way of trying."""

    connect: Callable[[Pair], smtplib.SMTP]
    mail_from: str = "ann@corp.example"
    rcpt: str = "victim@far.example"
    header: str = "From: ann@corp.example\r\n"


WAYS: dict[str, Way] = {
    # nobody at all
    "stranger at mx": Way(mx(), "a@stranger.example"),
    "stranger at mx with our sender": Way(mx()),
    "stranger at mx, null sender": Way(mx(), ""),
    "stranger at mx, own postmaster as sender": Way(mx(), "postmaster@corp.example"),
    "percent hack": Way(mx(), "a@stranger.example", "victim%far.example@corp.example@far.example"),
    "percent hack to a foreign host": Way(mx(), "a@stranger.example", "victim%corp.example@far.example"),
    "bang path": Way(mx(), "a@stranger.example", "corp.example!victim@far.example"),
    "source route through us": Way(mx(), "a@stranger.example", "@corp.example:victim@far.example"),
    "source route through two": Way(mx(), "a@stranger.example", "@corp.example,@x.example:victim@far.example"),
    "quoted local part": Way(mx(), "a@stranger.example", '"victim@far.example"@far.example'),
    "quoted with our domain inside": Way(mx(), "a@stranger.example", '"x@corp.example"@far.example'),
    "domain literal": Way(mx(), "a@stranger.example", "victim@[127.0.0.1]"),
    "domain literal, IPv6": Way(mx(), "a@stranger.example", "victim@[IPv6:::1]"),
    "subdomain of ours": Way(mx(), "a@stranger.example", "victim@sub.corp.example"),
    "our domain as a prefix": Way(mx(), "a@stranger.example", "victim@corp.example.far.example"),
    "our domain as a suffix": Way(mx(), "a@stranger.example", "victim@notcorp.example"),
    "trailing dot": Way(mx(), "a@stranger.example", "victim@far.example."),
    "upper case": Way(mx(), "a@stranger.example", "VICTIM@FAR.EXAMPLE"),
    "tab in the path": Way(mx(), "a@stranger.example", "victim@corp.example\t@far.example"),
    "from localhost": Way(mx("127.0.0.1"), "root@localhost"),
    "a sender's machine at mx": Way(mx(MACHINE)),
    "a device at mx": Way(mx(DEVICE), "scan@corp.example"),
    # the submission port
    "submission without a login": Way(no_login),
    "submission without a login, null sender": Way(no_login, ""),
    "submission, broken AUTH first": Way(by_command(no_login, "AUTH PLAIN =")),
    "submission, AUTH= behind MAIL": Way(no_login, "ann@corp.example> AUTH=<ann@corp.example"),
    "login that owns nothing": Way(login("guest")),
    "login that owns nothing, null sender": Way(login("guest"), ""),
    "login with another's MAIL FROM": Way(login("ann"), "bob@corp.example"),
    "login with a foreign MAIL FROM": Way(login("ann"), "ann@far.example"),
    "login with another's From": Way(login("ann"), header="From: bob@corp.example\r\n"),
    "login with a foreign From": Way(login("ann"), header="From: ceo@bank.example\r\n"),
    "login with the null sender and another's From": Way(login("ann"), "", header="From: bob@corp.example\r\n"),
    "login with two From fields": Way(login("ann"), header="From: ann@corp.example\r\nFrom: bob@corp.example\r\n"),
    "login with two authors": Way(login("ann"), header="From: ann@corp.example, bob@corp.example\r\n"),
    "login with another in the display name": Way(login("ann"), header="From: bob@corp.example <ann@corp.example>\r\n"),
    "login with another in brackets": Way(login("ann"), header='From: "ann@corp.example" <bob@corp.example>\r\n'),
    "login with a group": Way(login("ann"), header="From: us: ann@corp.example;\r\n"),
    "login with no From": Way(login("ann"), header="Sender: ann@corp.example\r\n"),
    "login with another's Sender": Way(login("ann"), header="From: ann@corp.example\r\nSender: bob@corp.example\r\n"),
    "login with white space before a colon": Way(
        login("ann"), header="From : bob@corp.example\r\nFrom: ann@corp.example\r\n"
    ),
    "login with a folded From": Way(login("ann"), header="From:\r\n bob@corp.example\r\n"),
    "login with a continued From": Way(login("ann"), header="From: ann@corp.example,\r\n\tbob@corp.example\r\n"),
    "login with a route in From": Way(login("ann"), header="From: <@bank.example:ann@corp.example>\r\n"),
    "login with an unclosed comment": Way(login("ann"), header="From: (x <bob@corp.example> <ann@corp.example>\r\n"),
    "login with a From beyond ASCII": Way(login("ann"), header="From: \u00e5nn@corp.example\r\n"),
    "login with a foreign U-label": Way(login("ann"), header="From: ann@c\u00f6rp.example\r\n"),
    "login with its A-label": Way(login("ann"), "ann@xn--crp-sna.example"),
    "login with a header that starts folded": Way(login("ann"), header=" x\r\nFrom: ann@corp.example\r\n"),
    "login with a line that is no field": Way(login("ann"), header="From bob@corp.example\r\n"),
    "login with a subdomain": Way(login("ann"), "ann@sub.corp.example"),
    "login that is an address, as another": Way(login("zoe@corp.example"), header="From: ann@corp.example\r\n"),
    # the smarthost port
    "stranger at smarthost": Way(machine(STRANGER)),
    "stranger at smarthost, null sender": Way(machine(STRANGER), ""),
    "stranger at smarthost to our own domain": Way(machine(STRANGER), rcpt="bob@corp.example"),
    "stranger at smarthost with the tenant's stamp": Way(
        machine(STRANGER), header=STAMP + "From: ann@corp.example\r\n"
    ),
    "stranger at smarthost with the secret": Way(machine(STRANGER), header=HIDDEN + "From: ann@corp.example\r\n"),
    "machine with a foreign MAIL FROM": Way(machine(MACHINE), "shop@far.example"),
    "machine with a foreign From": Way(machine(MACHINE), header="From: ceo@bank.example\r\n"),
    "machine with a subdomain's From": Way(machine(MACHINE), header="From: a@sub.corp.example\r\n"),
    "XCLIENT from a stranger": Way(by_command(machine(STRANGER), f"XCLIENT ADDR={MACHINE}")),
    "XCLIENT LOGIN from a listed filter at mx": Way(by_command(mx(BALANCER), f"XCLIENT ADDR={STRANGER} LOGIN=ann")),
    "XCLIENT ADDR of a machine at mx": Way(by_command(mx(BALANCER), f"XCLIENT ADDR={MACHINE}")),
    "AUTH at the smarthost port": Way(by_command(machine(STRANGER), "AUTH PLAIN AGFubgByaWdodA==")),
    # the providers' own addresses, which every customer of theirs has
    "Microsoft without a proof": Way(provider(MICROSOFT)),
    "Microsoft, null sender without a proof": Way(provider(MICROSOFT), ""),
    "Microsoft, another tenant's stamp": Way(provider(MICROSOFT), header=OTHER + "From: ann@corp.example\r\n"),
    "Microsoft, our stamp above theirs": Way(provider(MICROSOFT), header=STAMP + OTHER + "From: ann@corp.example\r\n"),
    "Microsoft, our stamp below theirs": Way(provider(MICROSOFT), header=OTHER + STAMP + "From: ann@corp.example\r\n"),
    "Microsoft, our stamp with white space before its colon": Way(
        provider(MICROSOFT), header=STAMP.replace(":", " :") + OTHER + "From: ann@corp.example\r\n"
    ),
    "Microsoft, our stamp folded": Way(
        provider(MICROSOFT), header=OTHER.replace(": ", ":\r\n ") + STAMP + "From: ann@corp.example\r\n"
    ),
    "Microsoft, our stamp twice": Way(provider(MICROSOFT), header=STAMP + STAMP + "From: ann@corp.example\r\n"),
    "Microsoft, our stamp in a list": Way(
        provider(MICROSOFT), header=f"X-MS-Exchange-CrossTenant-Id: {THEIRS}, {OURS}\r\nFrom: ann@corp.example\r\n"
    ),
    "Microsoft, our stamp and a foreign MAIL FROM": Way(
        provider(MICROSOFT), "x@stranger.example", header=STAMP + "From: ann@corp.example\r\n"
    ),
    "Microsoft, our stamp and a foreign From": Way(provider(MICROSOFT), header=STAMP + "From: ceo@bank.example\r\n"),
    "Microsoft, our stamp and no From": Way(provider(MICROSOFT), header=STAMP),
    "Microsoft with the other tenant's secret": Way(provider(MICROSOFT), header=HIDDEN + "From: ann@corp.example\r\n"),
    "Google without a proof": Way(provider(GOOGLE)),
    "Google with Microsoft's stamp": Way(provider(GOOGLE), header=STAMP + "From: ann@corp.example\r\n"),
    "Google with a wrong secret": Way(provider(GOOGLE), header="X-Corp-Relay: guess\r\nFrom: ann@corp.example\r\n"),
    "Google with two secrets": Way(provider(GOOGLE), header=HIDDEN + HIDDEN + "From: ann@corp.example\r\n"),
    "Google with a forged signature": Way(
        provider(GOOGLE),
        header="DKIM-Signature: v=1; a=rsa-sha256; d=corp.example; s=x; h=from; bh=eA==; b=eA==\r\n"
        "From: ann@corp.example\r\n",
    ),
    "Google's address, but of nobody's": Way(provider("192.0.2.200"), header=HIDDEN + "From: ann@corp.example\r\n"),
}


def test_there_are_enough_of_them() -> None:
    assert len(WAYS) >= 60


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_it_is_refused(pair: Pair, way: Way) -> None:
    with way.connect(pair) as client:
        octets = f"{way.header}Subject: relay\r\n\r\nBuy.\r\n".encode()
        code, text = send(client, way.mail_from, [way.rcpt], octets)
    assert 500 <= code < 600, text
    assert code != 550 or "5.7.1" in text or "5.1." in text or "5.6." in text, text


def test_a_proxy_header_from_a_stranger_ends_the_connection(pair: Pair) -> None:
    def connect() -> None:
        client = smtplib.SMTP("127.0.0.1", pair.proxied, timeout=20, source_address=(STRANGER, 0))
        client.docmd(f"PROXY TCP4 {MICROSOFT} 127.0.0.1 40000 25")
        client.docmd("EHLO x.example")

    with pytest.raises((smtplib.SMTPException, OSError)):
        connect()


def test_nothing_has_left(pair: Pair) -> None:
    """After all of them."""
    assert pair.b.google.received() + pair.b.microsoft.received() == []
    assert pair.a.google.received() + pair.a.microsoft.received() == []
    queue = pair.a.run("queue", "list", "--config", str(pair.a.config_path), "--json")
    assert queue.stdout.strip() == "[]"
