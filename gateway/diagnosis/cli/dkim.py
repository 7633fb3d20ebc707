"""`waypost dkim`: published keys."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Annotated

import typer

from gateway.cli.options import DnsOption, DomainArgument, JsonOption, fail, group, print_json, print_text, read_domain

commands = group("DKIM keys in DNS.")


@commands.command("check")
def check(
    selector: Annotated[str, typer.Argument(help="The selector: s= of the signature.")],
    domain: DomainArgument,
    dns: DnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a key is published that receivers can use, and how good it is.

    Exit status 0 when there is one; 1 when not; 2 for a mistake in the command.
    """
    from gateway.diagnosis.offline import make_asker
    from gateway.diagnosis.records import texts
    from gateway.diagnosis.records.dkim_report import check_key, key_json, render_key

    if "." in selector and "." not in domain:
        fail(texts.SWAPPED.format(selector=domain, domain=selector))
    run = make_asker(dns).run(partial(check_key, read_domain(selector), read_domain(domain)))
    found = asyncio.run(run)[0]
    if as_json:
        print_json(key_json(found))
    else:
        print_text(render_key(found))
    sys.exit(not found.sound)
