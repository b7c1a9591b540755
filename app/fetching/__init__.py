"""Fetching files from elsewhere: by HTTP, and by whatever other scheme has an opener."""
