import sys

from pombo.ops.cli.entry import main

sys.exit(main())
