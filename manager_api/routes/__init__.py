"""The API, a file a resource: parameters in, an operation or a query, an answer out."""
