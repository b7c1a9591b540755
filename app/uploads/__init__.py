"""Uploads: files on their way to the service, received piece by piece."""
