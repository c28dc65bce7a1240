"""Readers and writers of picture formats, one file each."""
