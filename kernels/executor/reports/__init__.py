"""What is shown to the user: how much a run reused, and the plan as a table."""
