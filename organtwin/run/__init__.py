"""Moving a process through time and keeping what it computes."""
