"""`waypost headers` and `waypost bounce`: tools that look at one file and need no configuration."""

from __future__ import annotations

from gateway.cli.options import FileArgument, JsonOption, RawOption, fail, group, print_json, print_text, read_file
from gateway.diagnosis.arf import read_feedback
from gateway.diagnosis.bounce import read_bounce
from gateway.diagnosis.bounce_report import bounce_json, render_bounce
from gateway.diagnosis.feedback import feedback_json, judge_feedback, render_feedback
from gateway.diagnosis.headers import find_all, headers_json, read_headers, render_headers
from gateway.diagnosis.mime import read_mime
from gateway.tools.newlines import read_lines

commands = group("One file.")


@commands.command()
def headers(file: FileArgument, raw: RawOption = False, as_json: JsonOption = False) -> None:
    """Tell what the header of a message says: its way, who vouched for it, what went wrong and what to do.

    Asks nobody: all it says rests on what the servers on the way wrote down. Exit status 0; 2 when the file cannot be
    read.
    """
    octets, newlines = read_lines(read_file(file), raw)
    reading = read_headers(octets)
    findings = find_all(reading)
    if as_json:
        print_json(headers_json(reading, findings, newlines))
    else:
        print_text(render_headers(reading, findings, newlines))


@commands.command()
def bounce(file: FileArgument, raw: RawOption = False, as_json: JsonOption = False) -> None:
    """Tell why a message bounced: the innermost refusal, who refused whom, and what to do and not to do.

    Reads delivery status notifications, the bounces in prose of qmail, Exim, Exchange and Gmail, and feedback reports
    (ARF), which come to the same mailbox. Exit status 0; 1 when the message is none of these; 2 when the file cannot
    be read.
    """
    octets, newlines = read_lines(read_file(file), raw)
    message = read_mime(octets)
    feedback = read_feedback(message)
    found = None if feedback else read_bounce(message)
    if feedback is not None:
        findings = judge_feedback(feedback)
        if as_json:
            print_json(feedback_json(feedback, findings, newlines))
        else:
            print_text(render_feedback(feedback, findings, newlines))
    elif found is None:
        fail(f"{file} is neither a bounce nor a feedback report. For its header: waypost headers {file}", status=1)
    elif as_json:
        print_json(bounce_json(found, newlines))
    else:
        print_text(render_bounce(found, newlines))
