"""How much a contact and a provider take, and what becomes of the rest."""
