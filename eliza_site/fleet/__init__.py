"""The whole fleet on one machine under one supervisor: `python -m eliza_site.fleet` (`make run`)."""
