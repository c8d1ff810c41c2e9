"""Architectures: YOLO11, the default segmentation network, token models and their sparse executor."""
