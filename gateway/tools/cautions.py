"""The warnings of `waypost check`: settings that are valid, and that an admin should look at before mail suffers.

In: the configuration with its routing table. Out: one `Caution` for each point, in the order of the file's sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.config.keyring import KeyringUnusable, KeyState, read_keyring
from gateway.config.listeners import read_users
from gateway.config.model import Config
from gateway.config.policies import read_senders
from gateway.config.text_file import TextUnfit
from gateway.mail.path import mailbox
from gateway.model.value import Value
from gateway.policy.routing import RoutingTable
from gateway.service.certificates import examine_certificates
from gateway.tools.results import Json

_MOST_NAMED = 3
"""Names that one warning gives as examples."""


class Caution(Value):
    """A setting that is valid, and that probably has an unwanted effect."""

    place: str
    """The setting's path, e.g. `alarm.mail`."""
    text: str
    fix: str

    def format(self) -> str:
        """Two lines, as for the findings of `check --dns`."""
        return f"{self.place}: {self.text}\n    next: {self.fix}"


def find_cautions(config: Config, routing: RoutingTable, now: float) -> tuple[Caution, ...]:
    """All warnings; `now` is in epoch seconds."""
    return (
        *_check_tls(config),
        *_check_certificates(config, now),
        *_check_logins(config),
        *_check_signing(config),
        *_check_aliases(config, routing),
        *_check_alarms(config),
    )


def cautions_json(cautions: Sequence[Caution]) -> list[Json]:
    return [{"place": one.place, "text": one.text, "fix": one.fix} for one in cautions]


def _check_tls(config: Config) -> Iterator[Caution]:
    for number, listener in enumerate(config.listener):
        if listener.role == "mx" and listener.certificate is None:
            text = "offers no STARTTLS, so mail arrives unencrypted, and senders that require TLS do not deliver"
            yield Caution(f"listener[{number}].certificate", text, "set certificate and key")


def _check_certificates(config: Config, now: float) -> Iterator[Caution]:
    fixes = {
        "foreign": "have one made for the host name, or correct [server] hostname",
        "unreadable": "let the gateway's user read it",
    }
    for one in examine_certificates(config, now):
        if one.state != "good":
            fix = fixes.get(one.state, "renew it; a running gateway takes the new file by itself")
            yield Caution(one.where, f"certificate {one.file}: {one.problem}", fix)


def _check_logins(config: Config) -> Iterator[Caution]:
    """Logins of the users' file that may send nothing, and senders whose login is not in it."""
    if config.submission.users is None:
        return
    try:
        users = list(read_users(config.submission.users)[0])
    except TextUnfit:  # a mistake, not a warning
        return
    senders = read_senders(config)
    idle = [name for name in users if senders.by_login(name) is None]
    if idle:
        text = f"{_name(idle)} can log in, and can send nothing: no [[sender]] has the login"
        yield Caution("submission.users", text, "add a [[sender]] with the login, or `waypost user remove` it")
    known = {name.lower() for name in users}
    for number, sender in enumerate(config.sender):
        if sender.login and sender.login.lower() not in known and config.submission.ldap is None:
            text = f"{sender.login} cannot log in: it has no password"
            yield Caution(f"sender[{number}].login", text, f"waypost user add {sender.login}")


def _check_signing(config: Config) -> Iterator[Caution]:
    """Domains that senders of ours write as, and that no key signs for."""
    owned = [(f"sender[{number}].owns", one.owns) for number, one in enumerate(config.sender)]
    owned += [(f"tenant[{number}].domains", one.domains) for number, one in enumerate(config.tenant) if not one.dkim]
    if not owned:
        return
    signed: set[str] = set()
    if config.outbound.keyring is not None:
        try:
            entries = read_keyring(config.outbound.keyring)
        except (KeyringUnusable, OSError):  # a mistake, not a warning
            return
        signed = {entry.domain for entry in entries if entry.state is KeyState.SIGNING}
    places: dict[str, str] = {}
    for place, identities in owned:
        for identity in identities:
            places.setdefault(identity.rpartition("@")[2], place)
    for domain, place in places.items():
        if domain not in signed:
            text = f"mail of {domain} leaves unsigned: there is no DKIM key of it that signs"
            fix = f"waypost key new {domain}, publish the records, then waypost key rotate {domain}"
            yield Caution(place, text, fix if config.outbound.keyring else f"set [outbound] keyring, then {fix}")


def _check_aliases(config: Config, routing: RoutingTable) -> Iterator[Caution]:
    """Aliases that lead back to themselves, or to an own address that does not exist."""
    tables: tuple[Mapping[str, str], ...] = (routing.addresses, *routing.maps)
    listed = {domain.name for domain in config.domain if domain.mailboxes == "listed"}
    known = {key: value for table in reversed(tables) for key, value in table.items()}
    loops: list[str] = []
    ends: list[str] = []
    for key in sorted(key for key, value in known.items() if "@" in value):
        reached = _follow(key, known)
        if key in reached:
            loops.append(key)
        missing = [one for one in reached if one not in known and one.rpartition("@")[2] in listed]
        ends += [f"{key} -> {one}" for one in missing]
    if loops:
        text = f"the aliases {_name(loops)} lead back to themselves"
        yield Caution("routing", text, "let one of them lead to a backend")
    if ends:
        text = f"aliases lead to own addresses that are not listed, so mail for them is refused: {_name(ends)}"
        yield Caution("routing", text, "list the address, or change the alias")


def _follow(key: str, known: Mapping[str, str]) -> set[str]:
    """The addresses that an alias leads to. An alias that names itself keeps a copy, which is not a loop."""
    reached: set[str] = set()
    left = [key]
    while left:
        here = left.pop()
        for word in known.get(here, "").split():
            found = mailbox(word) if "@" in word else None
            if found is not None and found.key != here and found.key not in reached:
                reached.add(found.key)
                left.append(found.key)
    return reached


def _check_alarms(config: Config) -> Iterator[Caution]:
    own = {domain.name for domain in config.domain}
    boxes = [box for text in config.alarm.mail if (box := mailbox(text))]
    if boxes and not config.alarm.webhook and all(box.ascii_domain in own for box in boxes):
        text = "every alarm mailbox is behind this gateway: no alarm arrives while mail does not flow"
        yield Caution("alarm.mail", text, "add a mailbox elsewhere, or a webhook")


def _name(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
