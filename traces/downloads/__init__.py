"""Downloads of public traces and videos, listed in registry.yaml."""
