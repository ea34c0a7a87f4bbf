"""`python -m raiha_core` is the `raiha` command."""

import sys

from .cli import main

sys.exit(main())
