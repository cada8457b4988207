"""The telephone: text messages and calls by Twilio's REST API, and what comes back."""
