"""Alembic's entry: runs migrations on the connection that store.migrate hands over."""

from alembic import context

from manager_api.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
