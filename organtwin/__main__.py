"""``python -m organtwin`` is the command ``organtwin``."""

from organtwin.cli import main

main()
