"""``python -m streamresults`` is the command ``streamresults``."""

from __future__ import annotations

import sys

from streamresults.cli import main

if __name__ == "__main__":
    sys.exit(main())
