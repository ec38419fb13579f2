"""What Userfold knows about users, as plain functions over frozen records.

Rules for whoever edits this folder:

1. No I/O, no clock, no randomness, no HTTP words. Time, ids and entropy arrive as arguments.
2. Records and commands are frozen; change means a new record. Arguments are never mutated.
3. A refusal is a `DomainError` with a stable code; a rule that lives anywhere else is a defect.
"""
