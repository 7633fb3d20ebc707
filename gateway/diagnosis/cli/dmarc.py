"""`waypost dmarc`: a domain's DMARC record, and reports about it."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import (
    DnsOption,
    DomainArgument,
    JsonOption,
    fail,
    group,
    print_json,
    print_text,
    read_domain,
    read_file,
)

if TYPE_CHECKING:
    from gateway.diagnosis.records.dmarc_survey import Survey

commands = group("A domain's DMARC record, and reports about it.")


@commands.command("check")
def check(domain: DomainArgument, dns: DnsOption = None, as_json: JsonOption = False) -> None:
    """Show the record that applies, each tag with its value or default, and what is wrong with it.

    Exit status 0 when a sound record applies; 1 when not; 2 for a mistake in the command.
    """
    from gateway.diagnosis.records.dmarc_advice import render_survey, survey_json

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
    from gateway.diagnosis.records.dmarc_advice import advice_json, advise, render_advice

    found = _survey(domain, dns)
    advice = advise(found)
    if as_json:
        print_json(advice_json(found, advice))
    else:
        print_text(render_advice(found, advice))


@commands.command("report")
def report(
    files: Annotated[list[Path], typer.Argument(help="Files or folders; - is standard input.")],
    as_json: JsonOption = False,
) -> None:
    """Show aggregate reports: who reported, the policy, and each source, those that fail first, with what to do.

    Reads XML of RFC 7489 and RFC 9990, plain, in gzip or zip, or attached to a mail; of a folder, every file in it.
    Exit status 0; 1 when a file is not such a report; 2 when one cannot be read.
    """
    from gateway.diagnosis.reports import texts
    from gateway.diagnosis.reports.show import ReportFile, read_reports, render_reports, reports_json

    found = [read_reports(read_file(path), str(path)) for path in _expand(files)]
    reports = tuple(one for file in found for one in file.reports)
    refused = tuple(one for file in found for one in file.refused)
    whole = ReportFile(reports, refused)
    if not reports:
        fail("\n".join(texts.REFUSED.format(name=one.name, reason=one.reason) for one in refused), status=1)
    if as_json:
        print_json(reports_json(whole))
    else:
        print_text(render_reports(whole))
    sys.exit(bool(refused))


def _expand(paths: list[Path]) -> list[Path]:
    """The paths, with each folder replaced by its files."""
    from gateway.diagnosis.reports import texts

    found: list[Path] = []
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        if not inside:
            fail(f"{path}: {texts.NO_FILES}", status=1)
        found += inside
    return found


def _survey(domain: str, dns: Path | None) -> Survey:
    from gateway.diagnosis.offline import make_asker
    from gateway.diagnosis.records.dmarc_survey import survey

    return asyncio.run(make_asker(dns).run(partial(survey, read_domain(domain))))[0]
