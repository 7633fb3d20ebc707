"""The senders that may send through us: logins, machines and tenants, and every proof that is not enough."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.mail.header import parse_header
from gateway.model.envelope import IPText
from gateway.model.ingress import Tls
from gateway.model.result import ArcResult, ArcVerdict, Authentication, DkimResult, DkimVerdict
from gateway.policy.sender import Identity, Senders, Tenant, claims, find_authors, prove_tenant, secret_spans
from tests.support.authenticated import authenticated, signature
from tests.support.sending import mailbox

OURS = "11111111-2222-3333-4444-555555555555"
THEIRS = "99999999-2222-3333-4444-555555555555"
MICROSOFT = (ip_network("40.107.0.0/16"),)
GOOGLE = (ip_network("209.85.128.0/17"),)

ALICE = Identity("alice", frozenset({"alice@own.example", "sales.example"}), login="alice")
SCANNER = Identity("scanner", frozenset({"scan@own.example"}), networks=(ip_network("192.0.2.7"),))
BY_ID = Tenant("m365", frozenset({"own.example"}), MICROSOFT, tenant_id=OURS)
BY_SECRET = Tenant("google", frozenset({"own.example"}), GOOGLE, secret_header="X-Own", secret="s3cret-s3cret-s3cret")
BY_DKIM = Tenant("signed", frozenset({"own.example"}), GOOGLE, dkim=True)


def prove(
    tenant: Tenant, header: str, results: Authentication | None = None, author: tuple[str, ...] = ("own.example",)
) -> str:
    found = prove_tenant((tenant,), parse_header(header.encode()), results or authenticated(), author)
    return "" if found is None else f"{found.by}{' foreign' if found.foreign else ''}"


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("alice@own.example", True),
        ("ALICE@Own.Example", True),
        ('"alice"@own.example', True),
        ("alice+news@own.example", True),
        ("anybody@sales.example", True),
        ("bob@own.example", False),
        ("alice@sub.own.example", False),
        ("x@sub.sales.example", False),
        ("+alice@own.example", False),
        ('"alice+ceo@bank.example> "@own.example', False),
        ("alice@own.example.evil.example", False),
    ],
)
def test_an_identity_uses_what_it_owns(address: str, may: bool) -> None:
    assert ALICE.may_use(mailbox(address)) is may


def test_senders_are_known_by_login_and_by_address() -> None:
    senders = Senders((ALICE, SCANNER))
    assert senders.by_login("alice") is ALICE
    assert senders.by_login("") is None
    assert senders.by_login("scanner") is None
    assert senders.by_address(IPText("192.0.2.7")) is SCANNER
    assert senders.by_address(IPText("192.0.2.8")) is None


def test_a_login_that_is_an_address_of_ours_owns_it() -> None:
    senders = Senders((ALICE,), own=frozenset({"own.example"}))
    found = senders.by_login("bob@own.example")
    assert found is not None
    assert found.may_use(mailbox("bob@own.example"))
    assert not found.may_use(mailbox("alice@own.example"))
    assert senders.by_login("bob@far.example") is None
    assert senders.by_login("bob") is None


@pytest.mark.parametrize("turned", [False, True])
def test_the_narrowest_network_names_the_machine(turned: bool) -> None:
    office = Identity("office", frozenset({"own.example"}), networks=(ip_network("192.0.2.0/24"),))
    senders = Senders((SCANNER, office) if turned else (office, SCANNER))
    assert senders.by_address(IPText("192.0.2.7")) is SCANNER
    assert senders.by_address(IPText("192.0.2.9")) is office


def test_a_login_in_other_letters_is_the_same_sender() -> None:
    """Directories ignore letter case: another spelling must not give a sender limits of its own, nor end a
    suspension."""
    listed = Identity("zoe", frozenset({"zoe@own.example"}), login="zoe@own.example")
    senders = Senders((ALICE, listed), own=frozenset({"own.example"}))
    assert senders.by_login("Alice") is ALICE
    assert senders.by_login("ZOE@Own.Example") is listed
    first, second = senders.by_login("bob@own.example"), senders.by_login("Bob@OWN.example")
    assert first == second
    assert first is not None
    assert first.name == "bob@own.example"


def test_the_providers_network_or_certificate_makes_a_candidate_and_nothing_more() -> None:
    certified = Tenant(
        "c", frozenset({"own.example"}), (), ("mail.protection.outlook.com", "*.google.example"), dkim=True
    )
    senders = Senders(tenants=(BY_ID, certified))
    assert senders.tenants_at(IPText("40.107.1.1"), None) == (BY_ID,)
    assert senders.tenants_at(IPText("192.0.2.1"), None) == ()
    for subject, found in (
        ("countryName=US,commonName=mail.protection.outlook.com", True),
        ("commonName=a.google.example", True),
        ("commonName=a.b.google.example", False),
        ("commonName=mail.protection.outlook.com.evil.example", False),
        ("organizationName=mail.protection.outlook.com", False),
        ("", False),
    ):
        tls = Tls("TLSv1.3", "x", subject)
        assert senders.tenants_at(IPText("192.0.2.1"), tls) == ((certified,) if found else ())
    assert prove(BY_ID, "From: a@own.example\r\n") == ""


@pytest.mark.parametrize(
    ("header", "proven"),
    [
        (f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n", True),
        (f"x-ms-exchange-crosstenant-id:\t{OURS.upper()} \r\n", True),
        (f"X-MS-Exchange-CrossTenant-Id: {THEIRS}\r\n", False),
        # another tenant writes our id, and the provider stamps theirs, above or below
        (f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\nX-MS-Exchange-CrossTenant-Id: {THEIRS}\r\n", False),
        (f"X-MS-Exchange-CrossTenant-Id: {THEIRS}\r\nX-MS-Exchange-CrossTenant-Id: {OURS}\r\n", False),
        (f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\nX-MS-Exchange-CrossTenant-Id: {OURS}\r\n", False),
        (f"X-MS-Exchange-CrossTenant-Id: {OURS}, {THEIRS}\r\n", False),
        (f"X-MS-Exchange-CrossTenant-Id : {OURS}\r\nX-MS-Exchange-CrossTenant-Id: {THEIRS}\r\n", False),
        ("", False),
    ],
)
def test_exactly_one_stamp_of_ours_proves_the_tenant(header: str, proven: bool) -> None:
    assert bool(prove(BY_ID, header + "From: a@own.example\r\n")) is proven


@pytest.mark.parametrize(
    ("header", "proven"),
    [
        ("X-Own: s3cret-s3cret-s3cret\r\n", True),
        ("X-Own: s3cret-s3cret-s3cre\r\n", False),
        ("X-Own: s3cret-s3cret-s3cret\r\nX-Own: s3cret-s3cret-s3cret\r\n", False),
        ("X-Own: guess\r\nX-Own: s3cret-s3cret-s3cret\r\n", False),
        ("X-Own:\r\n", False),
    ],
)
def test_the_secret_proves_the_tenant_when_it_stands_there_once(header: str, proven: bool) -> None:
    assert bool(prove(BY_SECRET, header)) is proven


def test_the_secret_field_is_found_however_often_it_stands_there() -> None:
    header = parse_header(b"X-Own: one\r\nFrom: a@own.example\r\nx-own: two\r\n")
    assert [(span.start, span.end) for span in secret_spans((BY_SECRET, BY_ID), header)] == [(0, 12), (33, 45)]
    assert secret_spans((BY_ID,), header) == ()


@pytest.mark.parametrize(
    ("signer", "result", "author", "proven"),
    [
        ("own.example", DkimVerdict.PASS, ("own.example",), True),
        ("own.example", DkimVerdict.FAIL, ("own.example",), False),
        ("own.example", DkimVerdict.POLICY, ("own.example",), False),
        ("evil.example", DkimVerdict.PASS, ("own.example",), False),
        ("example", DkimVerdict.PASS, ("own.example",), False),
        ("own.example", DkimVerdict.PASS, ("evil.example",), False),
        ("own.example", DkimVerdict.PASS, ("own.example", "evil.example"), False),
        ("own.example", DkimVerdict.PASS, (), False),
    ],
)
def test_a_signature_of_ours_proves_the_tenant(
    signer: str, result: DkimVerdict, author: tuple[str, ...], proven: bool
) -> None:
    results = authenticated(dkim=(signature(signer, result),))
    assert bool(prove(BY_DKIM, "", results, author)) is proven


def test_a_foreign_from_needs_its_own_proof() -> None:
    stamp = f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n"
    foreign = ("list.example",)
    assert prove(BY_ID, stamp, author=foreign) == ""
    signed: tuple[DkimResult, ...] = (signature("list.example", DkimVerdict.PASS),)
    assert prove(BY_ID, stamp, authenticated(dkim=signed), foreign).endswith(" foreign")
    sealed = authenticated(arc=ArcResult(ArcVerdict.PASS))
    assert prove(BY_ID, stamp, sealed, foreign).endswith(" foreign")
    other = (signature("own.example", DkimVerdict.PASS),)
    assert prove(BY_ID, stamp, authenticated(dkim=other), foreign) == ""
    assert prove(BY_ID, "", authenticated(dkim=signed), foreign) == "", "its own signature proves no tenant"
    assert prove(BY_ID, stamp, authenticated(dkim=signed), ()) == "", "a From that nobody can read"


def test_a_message_of_two_tenants_is_of_none() -> None:
    both = (BY_ID, Tenant("other", frozenset({"own.example"}), MICROSOFT, tenant_id=OURS))
    header = parse_header(f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n".encode())
    assert prove_tenant(both, header, authenticated(), ("own.example",)) is None


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("alice@own.example", ["alice@own.example"]),
        ("Alice <alice@own.example>", ["alice@own.example"]),
        ('"ceo@bank.example" <alice@own.example>', ["alice@own.example"]),
        ("Alice (ceo@bank.example) <alice@own.example>", ["alice@own.example"]),
        ("<alice@own.example>, bob@own.example", ["alice@own.example", "bob@own.example"]),
        ('"a,b" <alice@own.example>', ["alice@own.example"]),
        # a reader could see another address
        ("ceo@bank.example <alice@own.example>", None),
        ("<ceo@bank.example> <alice@own.example>", None),
        ("alice@own.example <ceo@bank.example", None),
        ("<alice@own.example> ceo@bank.example", None),
        ("<@relay.example:alice@own.example>", None),
        ("team: alice@own.example;", None),
        ("alice@own.example@bank.example", None),
        ("alice@own.example,", None),
        ("alice", None),
        ("", None),
        ("al ice@own.example", None),
        ("alice@[192.0.2.1", None),
        ('"Alice <alice@own.example>', None),
        ("Alice (x <alice@own.example>", None),
    ],
)
def test_from_is_read_strictly(value: str, addresses: list[str] | None) -> None:
    found = find_authors(parse_header(f"From: {value}\r\n".encode()))
    assert (found and [str(one) for one in found]) == addresses


@pytest.mark.parametrize(
    "line", ["Sender\r\n : x@far.example", "S ender: x@far.example", "To: b@far.example,\r\n Sender: x@far.example"]
)
def test_a_line_that_only_some_read_as_sender_is_not_owned(line: str) -> None:
    header = parse_header(f"From: a@own.example\r\n{line}\r\n".encode())
    assert find_authors(header) is not None
    assert claims(header, "sender")
    assert find_authors(header, "sender") is None
    assert (
        find_authors(parse_header(f"From: a@own.example\r\n{line.replace('ender', 'ubject')}\r\n".encode())) is not None
    )


def test_two_from_fields_are_no_from() -> None:
    assert find_authors(parse_header(b"From: a@own.example\r\nFrom: a@own.example\r\n")) is None
    assert find_authors(parse_header(b"To: a@own.example\r\n")) is None
