"""How the database is: measured now, each figure with the statement that measured it."""
