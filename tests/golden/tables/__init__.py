"""Numbers that an experiment made and that pages show, and a small sweep with the tables of its figures."""
