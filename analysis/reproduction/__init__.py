"""Published numbers beside simulated ones: which experiment answers for which, run, compared, summed up."""
