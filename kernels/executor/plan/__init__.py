"""The execution plan of a graph, and the fused segments of it that one call runs."""
