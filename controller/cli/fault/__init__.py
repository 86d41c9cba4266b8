"""``windtunnel fault``: faults that are declared, found, blamed and survived; one subcommand a file."""
