"""The sparse executor's operations, each in interchangeable implementations with one signature.

`kernels.ops.reference` holds the contracts (plain torch, any device); `kernels.ops.registry` picks.
"""
