"""`python -m lenscope` is the same as `lenscope`."""

import sys

from lenscope.cli import main

sys.exit(main())
