"""Transform jobs: objects cut into requests, answered by a model, put together again."""
