"""HTTP to model servers: retries, rate limits, and sampling from OpenAI-compatible servers."""
