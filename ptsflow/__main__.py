"""`python -m ptsflow` is `ptsflow`."""

from __future__ import annotations

from ptsflow.cli.main import main

if __name__ == "__main__":
    main()
