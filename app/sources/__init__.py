"""Sources: where a private image can come from, one module each."""
