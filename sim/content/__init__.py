"""What frames contain, and what systems do with it: with pixels, or with block counts alone.

`PixelContent` really searches, encodes and decodes; `StatisticalContent` draws counts and sizes from a
recorded distribution, for large sweeps. A system works with either and does not know which.
"""
