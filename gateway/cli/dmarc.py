"""`waypost dmarc`: a domain's DMARC record, and reports about it."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from gateway.cli.options import DnsOption, DomainArgument, JsonOption, group, print_json, print_text, read_domain
from gateway.offline import make_asker
from gateway.tools.dmarc import advice_json, advise, render_advice, render_survey, survey_json
from gateway.tools.dmarc_survey import Survey, survey

commands = group("A domain's DMARC record, and reports about it.")


@commands.command("check")
def check(domain: DomainArgument, dns: DnsOption = None, as_json: JsonOption = False) -> None:
    """Show the record that applies, each tag with its value or default, and what is wrong with it.

    Exit status 0 when a sound record applies; 1 when not; 2 for a mistake in the command.
    """
    found = _survey(domain, dns)
    if as_json:
        print_json(survey_json(found))
    else:
        print_text(render_survey(found))
    sys.exit(not found.sound)


@commands.command("advise")
def advise_next(domain: DomainArgument, dns: DnsOption = None, as_json: JsonOption = False) -> None:
    """Say what to do next towards a policy that protects the domain and loses no mail, and what to publish.

    Exit status 0; 2 for a mistake in the command.
    """
    found = _survey(domain, dns)
    advice = advise(found)
    if as_json:
        print_json(advice_json(found, advice))
    else:
        print_text(render_advice(found, advice))


def _survey(domain: str, dns: Path | None) -> Survey:
    return asyncio.run(make_asker(dns).run(partial(survey, read_domain(domain))))[0]
