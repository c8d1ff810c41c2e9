"""What the papers printed: every number of their tables, figures and text, and which of them are held out."""
