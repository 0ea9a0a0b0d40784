"""What the road costs: small requests, idle connections, slow clients."""
