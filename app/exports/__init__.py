"""Exports: images as files to be fetched."""
