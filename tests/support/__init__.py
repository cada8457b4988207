"""What several tests lean on: fakes of the outside world."""
