"""From decisions and outcomes to the exact writes, pure: the writes of one reception, and the settlement of one
attempt.

In: arrivals, judgements, routes; claims and their outcomes; time, chance and ids as arguments. Out: an Intake or a
Settlement, each written in one transaction, with its events. Imports authentication, policy and the floors below;
importable by services and tools.
"""
