"""Migrations of the database, made by `tortoise makemigrations`."""
