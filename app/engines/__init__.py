"""Engines run machines and keep what their disks held. `base` is the contract; each engine is a package or module beside it."""
