"""Pages and panels in which a person reads, filters and blindly votes on the systems' answers."""
