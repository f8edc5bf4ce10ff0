"""What stands between the service and whoever reaches its port."""
