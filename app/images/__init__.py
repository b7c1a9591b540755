"""Images: the catalogue of machine templates."""
