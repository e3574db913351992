"""Makes `python -m lenscope` equivalent to `lenscope`."""

import sys

from lenscope.cli import main

sys.exit(main())
