"""What is measured and controlled: facilities, devices, channels, protocol, telemetry."""
