"""The benchmark: relays measured side by side, end to end, on one clock.

In: peers, sizes, concurrencies. Out: one JSON line per cell and a table of ratios. `python -m bench` (README.md).
"""
