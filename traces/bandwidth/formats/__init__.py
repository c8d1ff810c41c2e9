"""One module a trace file format. Each offers NAME, EXPECTS (one line, for messages), matches and load."""
