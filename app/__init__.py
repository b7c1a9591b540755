"""The image service. It does not know that GraphQL exists."""
