"""The operators' and reviewers' interface: HTTP over a unix socket, or over loopback."""
