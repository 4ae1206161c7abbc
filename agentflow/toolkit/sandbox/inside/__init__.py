"""What is seen inside of the stronger sandbox: its worker. These files import nothing but Python's own library."""
