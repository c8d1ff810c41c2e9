"""The physics of a run: links that replay traces, processors, arrivals, estimators; no word of video."""
