"""What tests of any folder share: servers, gateways, tokens, certificates, a raw client."""
