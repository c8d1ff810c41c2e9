"""The graph of a module: tracing it, lowering the recorded calls to nodes, and their tap tables."""
