"""StatsD and DogStatsD over UDP: lines, what they add up to in an interval, and the socket."""
