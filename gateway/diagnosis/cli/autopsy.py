"""`waypost autopsy`: why a message's signature fails. Needs no configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import (
    DnsOption,
    FileArgument,
    JsonOption,
    RawOption,
    fail,
    group,
    print_json,
    print_text,
    read_file,
    say,
)

if TYPE_CHECKING:
    from gateway.diagnosis.autopsy.examination import Autopsy
    from gateway.diagnosis.autopsy.specimen import Specimen
    from gateway.model.dnsdata import Answer, Question

commands = group("One broken message.")


@commands.command()
def autopsy(
    file: FileArgument,
    original: Annotated[Path | None, typer.Option(help="The message as it was sent: shows what differs.")] = None,
    dns: DnsOption = None,
    now: Annotated[float | None, typer.Option(help="The time to judge at, epoch seconds.")] = None,
    repair: Annotated[Path | None, typer.Option(help="Write the message as it was before the change.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report without private data, for a support desk.")
    ] = None,
    raw: RawOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find out why a message's DKIM signature fails: what was changed, where, and by which hop.

    Needs no configuration, and for changes to the body no network either. Exit status 0 whatever is found; 2 when a
    file cannot be read or written, or holds no message.
    """
    from gateway.diagnosis.autopsy import texts
    from gateway.diagnosis.autopsy.differences import find_differences
    from gateway.diagnosis.autopsy.examination import examine
    from gateway.diagnosis.autopsy.output import autopsy_json
    from gateway.diagnosis.autopsy.rendering import render_autopsy

    specimen = _read(file, raw)
    for out in (repair, report):
        if out is not None and out.exists() and file.exists() and out.samefile(file):
            fail(texts.SAME_FILE.format(file=out))
    answers = _fetch_keys(specimen.message, dns)
    with _progress() as progress:
        found = examine(specimen.message, answers, time.time() if now is None else now, progress)
    differences = None
    if original is not None:
        differences = find_differences(_read(original, raw).message, specimen.message)
    _write(found, specimen, repair, report)
    if as_json:
        print_json(autopsy_json(found, specimen, differences))
    else:
        print_text(render_autopsy(found, specimen, differences))


def _read(file: Path, raw: bool) -> Specimen:
    from gateway.diagnosis.autopsy import texts
    from gateway.diagnosis.autopsy.specimen import read_specimen

    octets = read_file(file)
    if not octets.strip():
        fail(texts.EMPTY_FILE.format(file=file))
    return read_specimen(str(file), octets, raw)


def _fetch_keys(message: bytes, dns: Path | None) -> dict[Question, Answer]:
    """The answer of DNS to every question; a failed lookup is an answer too."""
    from gateway.diagnosis.autopsy.examination import questions
    from gateway.diagnosis.offline import make_asker

    wanted = questions(message)
    answers, _ = asyncio.run(make_asker(dns).run(lambda window: window.ask_all(wanted)))
    return dict(zip(wanted, answers, strict=True))


@contextmanager
def _progress() -> Iterator[Callable[[float, int], None]]:
    """Shows the progress of the search on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda share, trials: None
        return
    columns = (TextColumn("Searching"), BarColumn(), TextColumn("{task.fields[trials]} repairs tried"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, trials=0)
        yield lambda share, trials: bar.update(task, completed=share, trials=trials)


def _write(found: Autopsy, specimen: Specimen, repair: Path | None, report: Path | None) -> None:
    from gateway.diagnosis.autopsy import texts
    from gateway.diagnosis.autopsy.redaction import compose_report

    if repair is not None and found.repaired is None:
        say(texts.NOT_REPAIRED.format(file=repair), error=True)
    elif repair is not None and found.repaired is not None:
        repair.write_bytes(specimen.restore(found.repaired))
        say(texts.REPAIRED.format(file=repair), error=True)
    if report is not None:
        report.write_text(compose_report(found, specimen), "utf-8")
        say(texts.REPORTED.format(file=report), error=True)
