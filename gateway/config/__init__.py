"""The configuration: one TOML file, read once, frozen, its mistakes reported together, each with its place.

In: a path and the environment. Out: `Config`, or `ConfigErrors` with file, line, setting, problem and fix of each
mistake; the routing table and the rule files that it names. `app`, `cli` and `tools` load it; services read it.

    load.py        the file to a Config
    model.py       the settings and their defaults
    values.py      the kinds of value: networks, names, addresses, files
    mistakes.py    mistakes and their places, for people
    references.py  `env:NAME` and `file:/path` in place of a value
    checks.py      checks across settings, and of files
    maps.py        CSV address maps; the routing table
    policies.py    the rule files; the settings that facts need
    providers.py   networks that a provider's tenants share
    first.py       the first file, for `waypost init`
"""
