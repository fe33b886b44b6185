"""`python -m projective` is the command `projective`."""

import sys

from projective.command_line import main

sys.exit(main())
