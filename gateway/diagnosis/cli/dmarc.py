"""`waypost dmarc`: a domain's DMARC record, and reports about it."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from gateway.cli.options import (
    DnsOption,
    DomainArgument,
    FileArgument,
    JsonOption,
    fail,
    group,
    print_json,
    print_text,
    read_domain,
    read_file,
)
from gateway.diagnosis.aggregate import ReportRefused
from gateway.diagnosis.dmarc_advice import advice_json, advise, render_advice, render_survey, survey_json
from gateway.diagnosis.dmarc_report import read_reports, render_report, report_json
from gateway.diagnosis.dmarc_survey import Survey, survey
from gateway.diagnosis.offline import make_asker

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


@commands.command("report")
def report(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show an aggregate report: who reported, the policy, and each source, those that fail first.

    Reads XML of RFC 7489 and RFC 9990, plain, in gzip or zip, or attached to a mail. Exit status 0; 1 when the file is
    no such report; 2 when it cannot be read.
    """
    try:
        found = read_reports(read_file(file))
    except ReportRefused as error:
        fail(f"{file} is not shown: {error}", status=1)
    if as_json:
        print_json({"reports": [report_json(one) for one in found]})
    else:
        for one in found:
            print_text(render_report(one))


def _survey(domain: str, dns: Path | None) -> Survey:
    return asyncio.run(make_asker(dns).run(partial(survey, read_domain(domain))))[0]
