"""Evidence to result, pure: SPF, DKIM, ARC and DMARC over DNS answers that are data.

In: ingress, envelope, evidence and a `Window` on DNS. Out: results. No socket, clock, random or disk; whoever calls
does the lookups that a check says it lacks and runs it again.
"""
