"""What the trail holds, made readable: replays and the index of sessions."""
