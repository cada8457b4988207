"""The pages' route handlers: they fill the views from the rooms' stores."""
