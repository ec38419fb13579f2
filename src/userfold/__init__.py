"""Userfold: one record per user, updated by browsers, backends and operators at the same time."""

__version__ = "0.1.0"
