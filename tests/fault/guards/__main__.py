"""`python -m tests.fault.guards [NAME...]`: exit status 1 unless all of them, or those that are named, are proven."""

import sys

from rich.console import Console

from tests.fault.guards import GuardError, main

# Wide enough for the table where no terminal says how wide it is.
FILE_COLUMNS = 200

terminal = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_COLUMNS)
try:
    sys.exit(main(sys.argv[1:], terminal))
except GuardError as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    sys.exit("Interrupted; the copy and all servers are gone.")
