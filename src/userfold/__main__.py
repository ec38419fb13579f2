"""`python -m userfold` is the command line."""

from userfold.cli import main

main()
