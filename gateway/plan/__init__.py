"""Decisions and outcomes to the exact writes, pure: what one reception stores, what one attempt settles.

In: arrivals, judgements, routes; claims and their outcomes; time, chance and ids as arguments. Out: an Intake or a
Settlement, each written in one transaction, with the events that tell of it. Imports authentication, policy and what is
below; importable by services and tools.
"""
