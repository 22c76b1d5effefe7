"""From sources in three formats to one row schema, and from chats to token ids and masks."""
