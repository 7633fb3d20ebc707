"""From evidence to results, pure: SPF, DKIM, ARC and DMARC over DNS answers that are data.

In: ingress, envelope, evidence and a `DnsView`. Out: results. No socket, clock, random or disk; the caller does the
lookups that a check lacks and runs it again.
"""
