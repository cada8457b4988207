"""`python -m wedsync_apm`: how `up` starts its children with the interpreter that runs it."""

from wedsync_apm.cli import main

main()
