"""Where jobs go: to the service, or to a simulator here, all asked the same way."""
