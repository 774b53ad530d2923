"""Tools that make and check the project's captures; scapy is used here and never by the product."""
