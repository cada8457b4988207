"""The schema: migrations in Supabase's layout, and what plain PostgreSQL lacks of Supabase."""
