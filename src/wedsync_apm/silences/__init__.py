"""What keeps people from being told of an incident: silences, maintenance windows, inhibition."""
