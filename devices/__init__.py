"""What is measured and controlled: facilities, devices, channels, the device protocol and the telemetry store."""
