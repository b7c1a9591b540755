"""Sharing: private images that other projects may use."""
