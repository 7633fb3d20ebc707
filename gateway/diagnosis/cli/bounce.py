"""`waypost bounce`: why a message was not delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import JsonOption, RawOption, fail, group, print_json, print_text, read_file

if TYPE_CHECKING:
    from gateway.diagnosis.bounce import Bounce
    from gateway.diagnosis.bounce.arf import Feedback
    from gateway.tools.results import Json, Newlines

commands = group("Bounces.")

_File = Annotated[
    Path | None, typer.Argument(help="The bounce, or a folder of them; - is standard input.", allow_dash=True)
]
_Reply = Annotated[
    str | None, typer.Option("--reply", help="Explain this reply, or this line of a log.", metavar="TEXT")
]


@commands.command()
def bounce(file: _File = None, reply: _Reply = None, raw: RawOption = False, as_json: JsonOption = False) -> None:
    """Tell why a message bounced: the innermost refusal, who refused whom, and what to do and not to do.

    Reads delivery status notifications, bounces in prose, feedback reports (ARF, Microsoft's JMRP), all of them also
    forwarded, pasted or saved by Outlook (.msg), and log lines of Postfix, Exim, sendmail, qmail, OpenSMTPD and
    Exchange. A folder is read file by file: a table, or with --json a line of JSON for each. Exit status 0; 1 when a
    file is none of these; 2 when it cannot be read.
    """
    from gateway.diagnosis.bounce import read_reply, texts
    from gateway.tools.results import Newlines

    if (file is None) == (reply is None):
        fail(texts.ONE_OF_TWO)
    if file is None:
        if not (reply or "").strip():
            fail(texts.EMPTY_REPLY)
        _show(read_reply(reply or ""), Newlines.CRLF, as_json)
    elif file.is_dir():
        _read_folder(file, as_json, raw)
    else:
        found, newlines = _read(file, raw)
        if found is None:
            fail(texts.NEITHER.format(file=file), status=1)
        _show(found, newlines, as_json)


def _read(file: Path, raw: bool) -> tuple[Bounce | Feedback | None, Newlines]:
    from gateway.diagnosis.bounce import decode, read_handed
    from gateway.tools.results import read_lines

    octets, newlines = read_lines(decode(read_file(file)), raw)
    return read_handed(octets), newlines


def _show(found: Bounce | Feedback, newlines: Newlines, as_json: bool) -> None:
    from gateway.diagnosis.bounce import render_bounce
    from gateway.diagnosis.bounce.arf import Feedback
    from gateway.diagnosis.bounce.feedback import judge_feedback, render_feedback

    if as_json:
        print_json(_json(found, newlines))
    elif isinstance(found, Feedback):
        print_text(render_feedback(found, judge_feedback(found), newlines))
    else:
        print_text(render_bounce(found, newlines))


def _json(found: Bounce | Feedback, newlines: Newlines) -> dict[str, Json]:
    from gateway.diagnosis.bounce import bounce_json
    from gateway.diagnosis.bounce.arf import Feedback
    from gateway.diagnosis.bounce.feedback import feedback_json, judge_feedback

    if isinstance(found, Feedback):
        return feedback_json(found, judge_feedback(found), newlines)
    return bounce_json(found, newlines)


def _read_folder(folder: Path, as_json: bool, raw: bool) -> None:
    from gateway.diagnosis.bounce import render_folder, texts

    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files:
        fail(texts.NO_FILES.format(folder=folder))
    rows: list[tuple[Path, Bounce | Feedback | str]] = []
    for file, found, newlines in _read_all(files, raw):
        if as_json:
            said: dict[str, Json] = {"error": found} if isinstance(found, str) else _json(found, newlines)
            print(json.dumps({"file": str(file.relative_to(folder)), **said}, ensure_ascii=False))
        rows.append((file, found))
    if not as_json:
        print_text(render_folder(rows))
    if any(isinstance(found, str) for _, found in rows):
        raise typer.Exit(1)


def _read_all(files: list[Path], raw: bool) -> Iterator[tuple[Path, Bounce | Feedback | str, Newlines]]:
    from gateway.diagnosis.bounce import texts
    from gateway.tools.results import Newlines

    for file in files:
        try:
            found, newlines = _read(file, raw)
        except OSError as error:
            yield file, texts.NOT_READ.format(reason=error.strerror), Newlines.CRLF
        else:
            yield file, found if found is not None else texts.IS_NEITHER, newlines
