"""Parts that several systems are made of: blocks with motion, split networks, what a server remembers.

What only one system uses lies in that system's folder.
"""
