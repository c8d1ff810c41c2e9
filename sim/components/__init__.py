"""Parts that several systems are made of: blocks with motion, edge and server in step, split networks, costs.

What only one system uses lies in that system's folder.
"""
