"""The configuration: one TOML file, read once, frozen, its mistakes reported together, each with its place.

In: a path and the environment. Out: `Config`, or `ConfigErrors` with file, line, setting, problem and fix of each
mistake; the routing table and the rule files that it names. `app`, `cli` and `tools` load it; services read it.

    load.py            the file to a Config; `env:NAME` and `file:/path` in place of a value
    text_file.py       a text file, read whole and within limits
    model.py           the settings and their defaults; most sections are in the next five files
    edge.py            listeners, limits, logins, relays
    recipients.py      domains, maps, routing
    judging.py         policy, holding, greylisting, sealing, block lists
    backends.py        backends, delivery, retention
    outbound.py        senders, tenants, the route of outgoing mail
    values.py          the types of values: networks, names, addresses, files
    valid_sections.py  the valid sections of a file with mistakes
    mistakes.py        mistakes and their places, for people
    checks.py          checks across settings, and of files
    listeners.py       the checks of listeners
    outgoing.py        the checks of senders and of the outgoing route
    maps.py            address maps; the routing table
    policies.py        rule sets; the settings that facts need
    rule_files.py      the places of rule files
    keyring.py         DKIM keys
    providers.py       networks and signing domains that a provider's tenants share
    first.py           the first file, for `waypost init`
"""
