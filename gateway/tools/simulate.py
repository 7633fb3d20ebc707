"""`waypost simulate`: judges message files without sending them, one or a batch.

In: cases, and a `SimulationContext` that can read configurations and answer DNS. Out: JSON results, or text for people.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from rich.console import Group
from rich.text import Text

from gateway.config.model import Config
from gateway.mail.domain import a_label
from gateway.mail.path import mailbox
from gateway.model.envelope import IPText, Mailbox, ip_text
from gateway.model.history import History, Standing
from gateway.model.value import Value
from gateway.ports import Resolver
from gateway.service.runtime import RuntimeConfig
from gateway.tools import texts
from gateway.tools.explain import render_evidence, route_lines
from gateway.tools.narrative import clean, narrate
from gateway.tools.rehearsal import Delivered, Rehearsed, rehearse
from gateway.tools.results import (
    Json,
    Newlines,
    decision_json,
    read_lines,
    render_section,
    results_json,
    routes_json,
    safe_json,
)

_HOSTNAME = "waypost.invalid"
"""Our name when no configuration gives one (RFC 6761 section 6.4)."""


_KEYS = (
    "file", "ip", "helo", "mail_from", "rcpt", "dns", "now", "config", "policy", "standing", "client", "raw",
)  # fmt: skip
_ALIKE = 0.81
"""The similarity to an option from which a key counts as misspelt: `client_ip` is a key of the case's own."""
_MOST_REMEMBERED = 64
_MANY = 100
"""Passed messages in an assumed memory."""
_YEAR_10000 = 253_402_300_800
"""Epoch seconds: dates with more digits cannot be written in a header field."""
K = TypeVar("K")
V = TypeVar("V")


class CaseError(ValueError):
    """A case that cannot be judged as requested; the text gives the reason."""


def _bad(mistake: str, **values: object) -> CaseError:
    return CaseError(texts.BAD_CASES[mistake].format(**values))


class SimulatedCase(Value):
    """One message and the circumstances to judge it in."""

    file: Path
    ip: IPText
    helo: str
    mail_from: Mailbox | None
    rcpts: tuple[Mailbox, ...]
    zone: str | None
    """Text of the zone that answers DNS; None asks the network."""
    now: float | None
    """Epoch seconds; None is the present."""
    config: Path | None
    policy: str | None
    raw: bool
    history: History = History()
    """The assumed memory of the author's domain and of the client."""


class SimulationContext(Value):
    """The adapters that a simulation needs."""

    load_config: Callable[[Path], Config]
    make_runtime: Callable[[Config], RuntimeConfig]
    make_resolver: Callable[[Config, str | None], Resolver]
    """From a configuration and the text of a zone; without a zone it asks the network."""
    now: Callable[[], float]


class Simulation(Value):
    """One case, judged."""

    rehearsed: Rehearsed
    newlines: Newlines
    assumed: History = History()


def read_case(options: Mapping[str, object], directory: Path) -> SimulatedCase:
    """A case from options by name, as on the command line with `_` for `-`; relative paths start from `directory`.

    Raises CaseError; OSError when the zone cannot be read. A key that looks like a misspelt option is an error; other
    unknown keys belong to the case.
    """
    for key in options:
        close = [] if key in _KEYS else get_close_matches(key.lower().replace("-", "_"), _KEYS, 1, _ALIKE)
        if close:
            raise _bad("misspelt", key=key, close=close[0])
    for name in ("file", "ip", "mail_from", "rcpt"):
        if options.get(name) is None:
            raise _bad("missing", name=name)
    address = _text(options, "ip")
    try:
        ip = ip_text(address)
    except ValueError:
        raise _bad("address", value=repr(address)) from None
    rcpt = options["rcpt"]
    rcpts = rcpt if isinstance(rcpt, list | tuple) else [rcpt]
    if not rcpts:
        raise _bad("missing", name="rcpt")
    mail_from = _text(options, "mail_from")
    literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
    return SimulatedCase(
        file=directory / _text(options, "file"),
        ip=ip,
        helo=_text(options, "helo") or literal,
        mail_from=None if mail_from in ("", "<>") else _sender(mail_from),
        rcpts=tuple(_mailbox("rcpt", one) for one in rcpts),
        zone=_zone(options.get("dns"), directory),
        now=_number(options.get("now")),
        config=directory / _text(options, "config") if options.get("config") else None,
        policy=_text(options, "policy") or None,
        raw=_flag(options.get("raw")),
        history=_history(_text(options, "standing"), _text(options, "client")),
    )


def _history(standing: str, client: str) -> History:
    """The assumed memory. If mail of the author's domain is assumed to have passed, mail of others has passed from this
    client too, unless the client is assumed to be unknown."""
    if standing not in ("", *Standing) or client not in ("", "known", "unknown"):
        name, value = ("standing", standing) if standing not in ("", *Standing) else ("client", client)
        words = texts.OR.join(Standing if name == "standing" else ("known", "unknown"))
        raise _bad("history", name=name, value=repr(value), words=words)
    if standing not in (Standing.FAMILIAR, Standing.STRANGER):
        return History(network_passes=_MANY if client == "known" else 0)
    own = _MANY if standing == Standing.FAMILIAR else 0
    return History(_MANY, own, 0 if client == "unknown" else _MANY)


def _text(options: Mapping[str, object], name: str) -> str:
    value = options.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | Path):
        raise _bad("text", name=name)
    return str(value)


def _mailbox(name: str, value: object) -> Mailbox:
    text = value.removeprefix("<").removesuffix(">") if isinstance(value, str) else ""
    found = mailbox(text)
    if found is None:
        raise _bad("mailbox", name=name, value=repr(value))
    return found


def _sender(text: str) -> Mailbox:
    """MAIL FROM unchanged, even one that no RFC 5321 client can send: SPF has an answer for those too (RFC 7208 section
    4.3)."""
    path = text.removeprefix("<").removesuffix(">")
    local, at, domain = path.rpartition("@")
    if not at or not domain:
        return _mailbox("mail_from", text)
    return mailbox(path) or Mailbox(local, domain, a_label(domain) or domain.lower())


def _zone(value: object, directory: Path) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, str | Path):
        return (directory / value).read_text("utf-8")
    raise _bad("zone")


def _flag(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _bad("flag", value=repr(value))


def _number(value: object) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            if 0 <= number < _YEAR_10000:
                return number
    except ValueError:
        pass
    raise _bad("number", value=repr(value))


async def simulate(case: SimulatedCase, simulation_context: SimulationContext) -> Simulation:
    """Judge one case. Raises CaseError, OSError, and the context's errors for a bad configuration or zone."""
    octets, newlines = read_lines(case.file.read_bytes(), case.raw)
    config = simulation_context.load_config(case.config) if case.config else make_config(case.rcpts)
    if case.policy:
        domains = tuple(domain.model_copy(update={"policy": ""}) for domain in config.domain)
        policy = config.policy.model_copy(update={"set": case.policy})
        config = config.model_copy(update={"policy": policy, "domain": domains})
    now = simulation_context.now() if case.now is None else case.now
    delivered = Delivered(case.ip, case.helo, case.mail_from, case.rcpts, octets, now, case.history)
    rehearsed = await rehearse(
        delivered, simulation_context.make_runtime(config), simulation_context.make_resolver(config, case.zone)
    )
    return Simulation(rehearsed, newlines, case.history)


def make_config(rcpts: Iterable[Mailbox]) -> Config:
    """The configuration used without a file: the recipients' domains are ours, all on one backend, policy `enforce`."""
    domains = dict.fromkeys(mailbox.ascii_domain for mailbox in rcpts)
    try:
        return Config.model_validate(
            {
                "server": {"hostname": _HOSTNAME},
                "listener": [{"address": "127.0.0.1:25"}],
                "domain": [{"name": name, "backend": "default"} for name in domains],
                "backend": {"default": {"hosts": "mx"}},
            }
        )
    except ValidationError:
        raise _bad("domain", domains=", ".join(domains)) from None


def simulation_json(simulation: Simulation) -> dict[str, Json]:
    """The result; its keys and their order are fixed."""
    trace = simulation.rehearsed.trace
    return safe_json(
        {
            **results_json(trace),
            "decision": decision_json(trace.decision),
            "routes": routes_json(trace),
            "added": list(trace.added),
            "newlines": simulation.newlines.value,
        }
    )


def render_simulation(simulation: Simulation) -> Group:
    """The result for people."""
    trace = simulation.rehearsed.trace
    title = texts.SIMULATED.format(action=trace.decision.action, reply=trace.decision.reply)
    parts = [Text(clean(title), "bold"), Text()]
    parts += [Text(sentence) for sentence in narrate(trace)]
    parts += [Text(_tell_assumed(simulation.assumed))]
    if simulation.newlines is not Newlines.CRLF:
        parts += [Text(texts.LINE_ENDS.format(newlines=simulation.newlines))]
    refused = (texts.STATE.format(rcpt=rcpt, state=reply, why="") for rcpt, reply in simulation.rehearsed.refused)
    parts += render_section(texts.RCPTS_REFUSED, refused)
    parts += render_section(texts.SECTIONS["routes"], route_lines(trace))
    parts += render_evidence(trace)
    return Group(*parts)


def _tell_assumed(history: History) -> str:
    """The memory assumed for the case, which may be the default."""
    client = texts.ASSUMED_CLIENT["known" if history.know_client(0) else "unknown"]
    return texts.ASSUMED.format(author=texts.ASSUMED_AUTHOR[history.standing], client=client)


async def run_batch(
    lines: Iterable[bytes], directory: Path, defaults: Mapping[str, object], simulation_context: SimulationContext
) -> AsyncIterator[dict[str, Json]]:
    """One result for each case line, in order; a case that cannot be judged gives `{index, file, error}`.

    Relative paths in a case start from `directory`; the caller makes those in `defaults` absolute.
    """
    simulation_context = _remember(simulation_context)
    for index, line in enumerate(line for line in lines if line.strip()):
        tree: dict[str, Json] = {}
        try:
            tree = _parse_line(line)
            simulation = await simulate(read_case({**defaults, **tree}, directory), simulation_context)
        except Exception as error:  # one bad case, for any reason, must not end the run
            yield safe_json({**_heading(index, tree, defaults), "error": _describe(error)})
            continue
        yield safe_json({**_heading(index, tree, defaults), **simulation_json(simulation)})


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _remember(simulation_context: SimulationContext) -> SimulationContext:
    """The same context with a cache of its last results, because compiling rules takes longer than asking them."""
    configs: dict[Path, Config] = {}
    made: dict[str, RuntimeConfig] = {}
    resolvers: dict[tuple[str, str | None], Resolver] = {}
    return SimulationContext(
        load_config=lambda path: _once(configs, path, lambda: simulation_context.load_config(path)),
        make_runtime=lambda config: _once(
            made, config.model_dump_json(), lambda: simulation_context.make_runtime(config)
        ),
        make_resolver=lambda config, zone: _once(
            resolvers, (config.dns.model_dump_json(), zone), lambda: simulation_context.make_resolver(config, zone)
        ),
        now=simulation_context.now,
    )


def _once(made: dict[K, V], key: K, make: Callable[[], V]) -> V:
    if key not in made:
        if len(made) >= _MOST_REMEMBERED:
            made.clear()
        made[key] = make()
    return made[key]


def _parse_line(line: bytes) -> dict[str, Json]:
    try:
        tree = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _bad("json", error=error) from None
    if not isinstance(tree, dict):
        raise _bad("object")
    return tree


def _heading(index: int, tree: dict[str, Json], defaults: Mapping[str, object]) -> dict[str, Json]:
    file = tree.get("file")
    if file is None and defaults.get("file") is not None:
        file = str(defaults["file"])
    found: dict[str, Json] = {"index": index, "file": file}
    return {**found, "id": tree["id"]} if "id" in tree else found
