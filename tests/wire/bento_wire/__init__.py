"""A second implementation of bento's protocol, written from proto/PROTOCOL.md alone. It shares no code with the first."""
