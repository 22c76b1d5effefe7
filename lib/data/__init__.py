"""Rows from three sources in one schema, and chats as token ids and masks."""
