"""The simulated world as cameras and their frames see it, and the run that puts it in motion."""
