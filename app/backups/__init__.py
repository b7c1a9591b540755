"""Backups: what all disks of an ECS held at one instant."""
