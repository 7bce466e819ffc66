"""A second implementation of bento's protocol, from proto/PROTOCOL.md alone: no code is shared with the first."""
