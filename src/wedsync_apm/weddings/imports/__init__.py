"""Weddings from files: iCalendar and tables, read in a process apart, shown before they count."""
