"""``python -m mho``: the command line."""

import sys

from mho.cli.main import main

sys.exit(main())
