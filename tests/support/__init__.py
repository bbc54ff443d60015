"""What several tests share: readers and stand-ins for the outside world."""
