"""Figures that somebody asks for: what is drawn against what, of which runs, for which template."""
