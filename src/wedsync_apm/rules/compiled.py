"""The part that follows rules over samples in memory: compiled, or where nothing was, in Python."""

from typing import Final

try:
    from wedsync_apm.rules.rings import Rings as Rings
    from wedsync_apm.rules.units import Units as Units
except ImportError:
    # The same verdicts, later.
    from wedsync_apm.rules.plain_rings import Rings as Rings
    from wedsync_apm.rules.plain_rings import Units as Units

IS_COMPILED: Final = Units.__module__ != "wedsync_apm.rules.plain_rings"
