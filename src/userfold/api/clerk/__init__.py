"""Clerk's Backend API at `/clerk/v1`, for Clerk's own SDKs, unmodified. See README.md."""
