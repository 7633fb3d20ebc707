"""`waypost spf`: a domain's SPF record."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import DnsOption, DomainArgument, JsonOption, fail, group, print_json, print_text, read_domain

if TYPE_CHECKING:
    from gateway.diagnosis.records.spf_walk import SpfWalk
    from gateway.model.result import SpfResult
    from gateway.service.authenticator import Authenticator

commands = group("A domain's SPF record.")


@commands.command("check")
def check(
    domain: DomainArgument,
    ip: Annotated[str | None, typer.Option(help="Judge this client's address, too.")] = None,
    sender: Annotated[str | None, typer.Option(help="The whole MAIL FROM, for records with macros.")] = None,
    helo: Annotated[str | None, typer.Option(help="What the client says in EHLO.")] = None,
    dns: DnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with a domain's record; with --ip, whether that address may send.

    Exit status 0 when receivers can use the record and the address passes; 1 when not; 2 for a mistake in the command.
    """
    from gateway.diagnosis.offline import make_asker

    asyncio.run(_check(read_domain(domain), ip, sender, helo, make_asker(dns), as_json))


@commands.command("walk")
def walk_record(domain: DomainArgument, dns: DnsOption = None, as_json: JsonOption = False) -> None:
    """Follow the record through all its includes: who may send, and how many lookups it takes.

    Exit status 0 when receivers can use the record; 1 when not; 2 for a mistake in the command.
    """
    from gateway.diagnosis.offline import make_asker
    from gateway.diagnosis.records.spf_report import is_sound, render_walk, walk_json

    found = asyncio.run(_walk(read_domain(domain), make_asker(dns)))
    if as_json:
        print_json(walk_json(found))
    else:
        print_text(render_walk(found))
    sys.exit(not is_sound(found))


async def _walk(domain: str, asker: Authenticator) -> SpfWalk:
    from gateway.diagnosis.records.spf_walk import walk

    return (await asker.run(partial(walk, domain)))[0]


async def _check(
    domain: str, ip: str | None, sender: str | None, helo: str | None, asker: Authenticator, as_json: bool
) -> None:
    from gateway.diagnosis.records.spf_report import is_sound, render_check, walk_json
    from gateway.model.result import SpfVerdict

    found = await _walk(domain, asker)
    verdict = await _judge(domain, ip, sender, helo or domain, asker) if ip else None
    if as_json:
        print_json(walk_json(found, verdict))
    else:
        print_text(render_check(found, verdict, ip or ""))
    sys.exit(not (is_sound(found) if verdict is None else verdict.result is SpfVerdict.PASS))


async def _judge(domain: str, ip: str, sender: str | None, helo: str, asker: Authenticator) -> SpfResult:
    from gateway.authentication import spf
    from gateway.mail.path import mailbox
    from gateway.model.envelope import Mailbox, ip_text
    from gateway.model.ingress import ClientSource, EdgeIngress
    from gateway.model.result import SpfIdentity

    try:
        address = ip_text(ip)
    except ValueError:
        fail(f"--ip: {ip!r} is not an IP address")
    path = mailbox(sender) if sender else Mailbox("postmaster", domain, domain)
    if path is None:
        fail(f"--sender: {sender!r} is not a mail address")
    ingress = EdgeIngress(address, ClientSource.PEER, helo, "", address)
    judge = partial(spf.evaluate, ingress, path, SpfIdentity.MAILFROM, receiver="waypost.invalid")
    return (await asker.run(lambda window: judge(window=window)))[0]
