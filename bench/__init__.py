"""Benchmarks: programs that are run by hand (`make bench`), never timed tests. `__main__.py` is where to begin."""
