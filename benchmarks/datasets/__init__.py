"""Data sets: published files, user folders, decoding, augmentation."""
