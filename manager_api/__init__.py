"""The manager: rule sets, policy, appliances and events behind a REST API."""
