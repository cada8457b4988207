"""Status pages: what a vendor shows to everybody, and mail for whoever asks for it."""
