"""The pure heart: what to send, poll, collect and split next, decided without waiting, clocks or logs."""
