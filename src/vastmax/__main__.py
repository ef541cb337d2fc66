"""``python -m vastmax``."""

from vastmax.cli import main

main()
