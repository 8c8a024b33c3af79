"""Which learning rate, decay and epsilon: a range test, runs that verify it, and maps of its surroundings."""
