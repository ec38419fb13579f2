"""Userfold's own API at `/v1`: everything that it can do, in the field's standard terms."""
