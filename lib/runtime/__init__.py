"""The base of every other room: atomic files, progress, devices, settings."""
