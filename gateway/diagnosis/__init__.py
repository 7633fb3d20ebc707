"""Tools that need no gateway: they read a file, a record or DNS answers, and report faults and remedies.

Files and DNS answers flow in; findings flow out, as text for people and as JSON for programs. The package may import
the floors up to `net`; nothing but the command table in `cli` imports it.
"""
