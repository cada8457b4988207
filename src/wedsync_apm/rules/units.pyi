from wedsync_apm.rules.plain_rings import Units as Units
