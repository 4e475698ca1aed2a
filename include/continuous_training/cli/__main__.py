"""`python -m continuous_training.cli` is `ct`."""

import sys

from continuous_training.cli import main

sys.exit(main())
