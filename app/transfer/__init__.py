"""A plain client of the API for the command line: it knows the service's address, a token and the protocols, and nothing of ours."""
