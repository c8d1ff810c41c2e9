"""Video sequences: files, folders of images, composed scenes, and block statistics without pixels."""
