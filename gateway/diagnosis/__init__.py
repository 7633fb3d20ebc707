"""Tools that need no gateway: they read a file, a record or the answer of DNS, and say what is wrong and what to do.

Files and DNS answers flow in; findings flow out, as text for people and as JSON for programs. The package may import
the floors up to `net`; nothing but the command table in `cli` imports it.
"""
