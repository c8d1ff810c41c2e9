"""How good results are: by coverage (which blocks are stale) or measured (the network really runs).

Under `coverage` accuracy follows from blocks that differ, and no network runs. Under `measured`, which is the
default wherever a network can run, every side of every system runs a real network on the pixels and with the
features that it would have there, and each result is compared with dense inference on the true frame, or
with the video's masks. Time comes from the profiles either way.
"""
