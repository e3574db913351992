"""The command line in one of several processes, without the pictures of a run."""

import sys

from lenscope import cli
from lenscope.cli.train import Train

if __name__ == "__main__":
    Train._draw = Train._write_report = lambda *_: None
    sys.exit(cli.main())
