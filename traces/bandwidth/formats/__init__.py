"""The built-in file formats of bandwidth traces, one a module, and what they share."""
