"""From a network's raw maps to results: letterboxing, boxes, masks and keypoints, one form for every task."""
