"""Whether everything is ready for a wedding, looked at on the evening before."""
