"""The database: tables, migrations and queries; SQLite or PostgreSQL through the same code."""
