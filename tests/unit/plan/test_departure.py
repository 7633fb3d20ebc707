"""Mail that leaves: its senders, replaced and added fields, and signatures."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from gateway.authentication.body import BodyHasher
from gateway.authentication.signing import DIGEST, SigningKey
from gateway.mail.header import parse_header, split_message
from gateway.model.envelope import Envelope, IPText, Recipient, ip_text
from gateway.model.ingress import InternalIngress, Tls
from gateway.model.message import Content, Departure, Evidence, Message, Route
from gateway.model.result import ArcResult, ArcVerdict, Authentication, DkimVerdict
from gateway.model.value import replace
from gateway.plan.departure import Outgoing, Permit, depart, find_permit, refuse_sender
from gateway.plan.intake import Arrival
from gateway.policy.sender import Identity, Senders, Tenant
from tests.support.authenticated import authenticated, signature
from tests.support.sealing import rsa_operation
from tests.support.sending import mailbox
from tests.support.signing import NOW, rsa_key

HERE = ip_text("192.0.2.1")
OURS = "11111111-2222-3333-4444-555555555555"
STAMP = f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n"
ALICE = Identity("alice", frozenset({"alice@own.example"}), login="alice")
SCANNER = Identity(
    "scanner", frozenset({"scan@own.example"}), mailbox("scan@own.example"), networks=(ip_network("192.0.2.7"),)
)
M365 = Tenant("m365", frozenset({"own.example"}), (ip_network("40.107.0.0/16"),), backend="microsoft", tenant_id=OURS)
SENDERS = Senders((ALICE, SCANNER), (M365,))
KEYS = (SigningKey("own.example", "r1", "rsa-sha256", rsa_operation(rsa_key())),)


@dataclass
class Case:
    """One message on its way out."""

    permit: Permit
    header: str = "From: alice@own.example\r\nDate: x\r\nMessage-ID: <y@z>\r\n"
    mail_from: str = "alice@own.example"
    results: Authentication = field(default_factory=authenticated)
    fix_up: str = ""
    backend: str = "direct"
    senders: Senders = SENDERS

    def depart(self) -> Departure | str:
        octets = self.header.encode() + b"\r\nbody\r\n"
        block, body = split_message(octets)
        hasher = BodyHasher({DIGEST})
        hasher.update(octets[body:])
        evidence = Evidence(block, hasher.digests(), len(octets))
        message = Message(Content(len(octets), b"", False, False, octets), evidence)
        rcpt = Recipient(mailbox("bob@far.example"))
        envelope = Envelope(mailbox(self.mail_from) if self.mail_from else None, (rcpt,))
        ingress = InternalIngress(HERE, "c.example", "submission", HERE, "sender")
        arrival = Arrival("id1", NOW, ingress, envelope, message, parse_header(block))
        routes = (Route(self.backend, (rcpt,)),)
        found = depart(
            arrival, message, self.permit, self.results, Outgoing(self.senders, KEYS, "direct"), routes, self.fix_up
        )
        return found if isinstance(found, Departure) else found[0]


def names(found: Departure | str) -> list[str]:
    assert isinstance(found, Departure)
    return [parse_header(one)[0].name for one in found.above]


def test_the_owner_writes_and_is_signed() -> None:
    found = Case(Permit(ALICE)).depart()
    assert isinstance(found, Departure)
    assert (found.sender, found.by, str(found.mail_from)) == ("alice", "sender alice", "alice@own.example")
    assert (names(found), found.dropped) == (["DKIM-Signature"], ())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("From: bob@own.example\r\n", "author-not-owned"),
        ("From: ceo@bank.example\r\n", "author-not-owned"),
        ("From: alice@own.example, ceo@own.example\r\n", "author-not-owned"),
        ('From: "alice@own.example" <ceo@own.example>\r\n', "author-not-owned"),
        ("From: alice@own.example\r\nFrom: ceo@own.example\r\n", "no-author"),
        ("From: ceo@own.example <alice@own.example>\r\n", "no-author"),
        ("From: team: alice@own.example;\r\n", "no-author"),
        ("Sender: alice@own.example\r\n", "no-author"),
        ("From: alice@own.example\r\nSender: ceo@own.example\r\n", "author-not-owned"),
        ("From: alice@own.example\r\nSender: a@b, c\r\n", "no-author"),
        ("From: alice@own.example\r\nResent-From: ceo@own.example\r\n", "author-not-owned"),
        ("From: alice@own.example\r\nResent-Sender: ceo@own.example\r\n", "author-not-owned"),
        ("Resent-From: a@b, c\r\nFrom: alice@own.example\r\n", "no-author"),
        # A line that incoming mail's judgement takes for a From or a Sender counts as one here too.
        ("From: alice@own.example\r\nFrom\r\n : <ceo@own.example>\r\n", "no-author"),
        (" From: <ceo@own.example>\r\nFrom: alice@own.example\r\n", "no-author"),
        ("Fr om: ceo@own.example\r\nFrom: alice@own.example\r\n", "no-author"),
        ("From: =?utf-8?q?=3Cceo=40bank=2Eexample=3E?=\r\n", "no-author"),
        ("From: ceo@bank.example (n)via alice@own.example\r\n", "no-author"),
        ("From: <alice@own.example> ceo@bank.example\r\n", "no-author"),
        ("From: alice@own.example (x\r\n", "no-author"),
        ("From: alice@own.example\r\nSender\r\n : ceo@own.example\r\n", "no-author"),
        (
            "Resent-From: b@own.example\r\nResent-From: alice@own.example\r\nFrom: alice@own.example\r\n",
            "author-not-owned",
        ),
    ],
)
def test_nobody_writes_as_another(header: str, said: str) -> None:
    assert Case(Permit(ALICE), header).depart() == said


def test_who_sends_again_names_himself_above_others() -> None:
    resent = "Resent-From: alice@own.example\r\nResent-From: bob@far.example\r\nFrom: alice@own.example\r\n"
    assert isinstance(Case(Permit(ALICE), resent).depart(), Departure)


LOOKALIKES = [
    '"ceo@bank.example"@own.example',
    '"CEO\\@bank.example"@own.example',
    '"a,ceo"@own.example',
    '"<ceo>"@own.example',
    '"x+ceo@bank.example"@own.example',
    "ceo\uff20bank.example@own.example",
    "ceo\ufe6bbank.example@own.example",
]


@pytest.mark.parametrize("address", LOOKALIKES)
def test_a_local_part_that_looks_like_another_address_is_owned_by_name_alone(address: str) -> None:
    owner = Identity("shop", frozenset({"own.example"}), login="shop")
    assert owner.may_use(mailbox("orders@own.example"))
    assert owner.may_use(mailbox('"odd orders"@own.example'))
    assert not owner.may_use(mailbox(address))
    assert replace(owner, owns=frozenset({mailbox(address).key})).may_use(mailbox(address))
    assert not replace(owner, owns=frozenset({"x@own.example"})).may_use(mailbox(address))
    assert Case(Permit(owner), f"From: {address}\r\n").depart() in ("author-not-owned", "no-author")


def test_a_login_from_the_null_sender_is_still_held_to_its_from() -> None:
    assert isinstance(Case(Permit(ALICE), mail_from="").depart(), Departure)
    assert Case(Permit(ALICE), "From: ceo@own.example\r\n", mail_from="").depart() == "author-not-owned"


def test_what_the_mail_program_forgot_is_added_on_submission_only() -> None:
    bare = "From: alice@own.example\r\n"
    found = Case(Permit(ALICE), bare, fix_up="mx.own.example").depart()
    assert names(found) == ["DKIM-Signature", "Date", "Message-ID"]
    assert isinstance(found, Departure)
    assert found.above[2] == b"Message-ID: <id1@mx.own.example>\r\n"
    assert names(Case(Permit(ALICE), bare).depart()) == ["DKIM-Signature"]
    assert names(Case(Permit(ALICE), fix_up="mx.own.example").depart()) == ["DKIM-Signature"]


@pytest.mark.parametrize("header", ["From: x@device.local\r\n", "", "From: a@b\r\nFrom: c@d\r\n"])
def test_a_device_gets_its_forced_sender(header: str) -> None:
    found = Case(Permit(SCANNER), header + "Subject: scan\r\n", mail_from="x@device.local").depart()
    assert isinstance(found, Departure)
    assert (names(found), str(found.mail_from)) == (["DKIM-Signature", "From"], "scan@own.example")
    assert found.above[1] == b"From: <scan@own.example>\r\n"
    assert sum(span.end - span.start for span in found.dropped) == len(header)


@pytest.mark.parametrize("author", ["From: x@device.local\r\n", "From: scan@own.example\r\n"])
@pytest.mark.parametrize(
    "agent",
    [
        "Sender: ceo@own.example\r\n",
        "Sender: a@b\r\nSender: c@d\r\n",
        "Resent-From: ceo@own.example\r\n",
        "Resent-From: scan@own.example\r\nResent-From: ceo@own.example\r\n",
        "Resent-Sender: none\r\n",
    ],
)
def test_a_device_has_no_foreign_sender_field(author: str, agent: str) -> None:
    found = Case(Permit(SCANNER), author + agent + "Subject: scan\r\n").depart()
    assert isinstance(found, Departure)
    assert sum(span.end - span.start for span in found.dropped) == len(agent) + len(author) * ("device" in author)
    assert b"sender" not in b"".join(found.above)


def test_a_device_that_names_itself_rightly_is_left_alone() -> None:
    found = Case(Permit(SCANNER), "From: Scan <scan@own.example>\r\n", mail_from="scan@own.example").depart()
    assert isinstance(found, Departure)
    assert (names(found), found.dropped) == (["DKIM-Signature"], ())


def test_a_proven_tenant_is_signed_for_and_its_secret_stays() -> None:
    tenant = replace(M365, tenant_id="", secret_header="X-Own", secret="s3cret-s3cret-s3cret")
    case = Case(Permit(tenants=(tenant,)), "X-Own: s3cret-s3cret-s3cret\r\nFrom: bob@own.example\r\n")
    case.senders = Senders(tenants=(tenant,))
    found = case.depart()
    assert isinstance(found, Departure)
    assert found.by == "tenant m365, secret in X-Own"
    assert [(span.start, span.end) for span in found.dropped] == [(0, 29)]
    assert names(found) == ["DKIM-Signature"]
    case.header = "From: bob@own.example\r\n"
    assert case.depart() == "tenant-not-proven"


@pytest.mark.parametrize("permit", [Permit(ALICE), Permit(tenants=(M365,))])
def test_no_tenants_secret_leaves_whoever_passes_it_on(permit: Permit) -> None:
    google = Tenant("google", frozenset({"own.example"}), (), secret_header="X-Own", secret="s3cret-s3cret-s3cret")
    case = Case(permit, "X-Own: s3cret-s3cret-s3cret\r\n" + STAMP + "From: alice@own.example\r\n")
    case.senders = Senders((ALICE,), (M365, google))
    found = case.depart()
    assert isinstance(found, Departure)
    assert [(span.start, span.end) for span in found.dropped] == [(0, 29)]


def test_what_a_tenant_passes_on_is_not_signed_by_us() -> None:
    forwarded = STAMP + "From: someone@list.example\r\n"
    results = authenticated(dkim=(signature("list.example", DkimVerdict.PASS),))
    found = Case(Permit(tenants=(M365,)), forwarded, mail_from="srs+x@own.example", results=results).depart()
    assert isinstance(found, Departure)
    assert found.above == ()
    sealed = authenticated(arc=ArcResult(ArcVerdict.PASS))
    assert isinstance(Case(Permit(tenants=(M365,)), forwarded, mail_from="", results=sealed).depart(), Departure)
    assert Case(Permit(tenants=(M365,)), forwarded, mail_from="").depart() == "tenant-not-proven"


def test_a_tenants_notification_leaves() -> None:
    header = STAMP + "From: postmaster@own.example\r\nContent-Type: multipart/report\r\n"
    found = Case(Permit(tenants=(M365,)), header, mail_from="").depart()
    assert isinstance(found, Departure)
    assert found.above == ()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case(Permit(tenants=(M365,)), STAMP + "From: a@own.example\r\n", "x@other.example"), "sender-not-owned"),
        (Case(Permit(tenants=(M365,)), STAMP + "From: a@own.example\r\n", backend="microsoft"), "loop-to-origin"),
        (Case(Permit(tenants=(M365,)), STAMP + "From: a@own.example\r\nFrom: b@own.example\r\n"), "no-author"),
        (Case(Permit(tenants=(M365,)), "From: a@own.example\r\n"), "tenant-not-proven"),
    ],
)
def test_a_tenant_is_refused(case: Case, said: str) -> None:
    assert case.depart() == said


@pytest.mark.parametrize(
    ("login", "client", "found"),
    [
        ("alice", "192.0.2.7", "alice"),
        ("nobody", "192.0.2.7", None),
        ("", "192.0.2.7", "scanner"),
        ("", "192.0.2.8", None),
        ("", "40.107.3.3", ""),
    ],
)
def test_who_a_client_may_be(login: str, client: IPText, found: str | None) -> None:
    permit = find_permit(SENDERS, login, client, None)
    assert (permit and permit.name) == found
    assert find_permit(SENDERS, "", IPText("192.0.2.8"), Tls("TLSv1.3", "x", "commonName=own.example")) is None


@pytest.mark.parametrize(
    ("permit", "mail_from", "said"),
    [
        (None, "alice@own.example", "not-a-sender"),
        (Permit(ALICE), "alice@own.example", None),
        (Permit(ALICE), "", None),
        (Permit(ALICE), "bob@own.example", "sender-not-owned"),
        (Permit(ALICE), "alice@far.example", "sender-not-owned"),
        (Permit(SCANNER), "x@device.local", None),
        (Permit(tenants=(M365,)), "x@own.example", None),
        (Permit(tenants=(M365,)), "", None),
        (Permit(tenants=(M365,)), "x@far.example", "sender-not-owned"),
    ],
)
def test_mail_from_is_held_to_its_owner(permit: Permit | None, mail_from: str, said: str | None) -> None:
    refusal = refuse_sender(permit, mailbox(mail_from) if mail_from else None, "")
    assert (refusal and refusal[0]) == said
    assert refusal is None or (refusal[1].code, refusal[1].enhanced) == (550, "5.7.1")


def test_a_login_that_owns_nothing_is_told_so() -> None:
    refusal = refuse_sender(None, mailbox("alice@own.example"), "alice")
    assert refusal is not None
    assert refusal[0] == "login-owns-nothing"
