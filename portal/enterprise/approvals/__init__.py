"""What waits for somebody's approval, and the rules that demand it."""
