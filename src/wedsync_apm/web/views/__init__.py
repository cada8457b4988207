"""What each page shows, as frozen records: templates read these and nothing else."""
