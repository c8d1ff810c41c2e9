"""What a run leaves: the account of each frame, the table of all, timeline, overlay, summary."""
