"""The lecture's page: its questions, the numbers gathered from runs, the pictures, and the two languages."""
