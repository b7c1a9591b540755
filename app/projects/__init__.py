"""Projects: the tenants, their API tokens, their quotas, and the keys by which they retry."""
