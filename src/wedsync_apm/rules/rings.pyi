from wedsync_apm.rules.plain_rings import Rings as Rings
