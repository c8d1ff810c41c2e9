"""The commands of ``python -m analysis``, a module each; ``analysis/__main__.py`` has their table."""
