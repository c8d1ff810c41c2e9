"""The measuring kit: what a board needs to be measured, in one file that Python 3.8, torch and numpy run."""
