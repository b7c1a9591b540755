"""Contents: what a disk held at one instant, and who holds on to it."""
