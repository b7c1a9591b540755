"""What a fresh installation comes with: public images, demo projects and a walk-through."""
