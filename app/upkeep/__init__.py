"""Upkeep of what is stored, in the process that owns the engine: checksums, a look at old bytes, short chains. Nobody asks for it."""
