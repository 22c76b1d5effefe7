"""What every other room stands on: files written whole or not at all, progress, devices."""
