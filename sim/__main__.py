"""The `servesim` command and `python -m sim`: quick to start, and quiet when interrupted while it loads."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from sim.cli.main import main as run_command_line

        run_command_line()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
