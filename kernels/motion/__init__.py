"""Motion of blocks: search, global motion, warping along vectors, which blocks have changed."""
