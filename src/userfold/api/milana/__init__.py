"""Milana's ingest API at `/milana`, for the unmodified `milana-js`. See README.md."""
