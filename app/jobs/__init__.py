"""Jobs: work that outlasts a request, kept in the database until it has ended."""
