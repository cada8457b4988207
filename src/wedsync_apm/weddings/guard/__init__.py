"""How closely the platform watches, and whether something may be changed now."""
