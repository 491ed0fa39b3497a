"""`python -m flows` is the `moodle-commcare` command."""

from flows.cli import main

main()
