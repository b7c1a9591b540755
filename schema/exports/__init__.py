"""What GraphQL shows of the noun of the same name in app."""
