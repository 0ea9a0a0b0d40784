"""Runs the migrations on the connection the gateway hands over, inside its transaction."""

from alembic import context

from penstock.state.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
