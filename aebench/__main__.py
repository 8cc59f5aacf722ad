"""`python -m aebench`."""

from aebench.cli import main

main()
