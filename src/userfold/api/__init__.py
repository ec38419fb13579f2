"""One folder for each API. They translate requests into commands, and records into replies; they hold no rules."""
