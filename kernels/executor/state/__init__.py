"""What a run works on: active sets, the memory of feature maps, the cache, and the runner of nodes."""
