"""`python -m refbilevel` is the console script."""

from refbilevel.cli import main

raise SystemExit(main())
