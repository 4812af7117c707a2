"""The API's operations, a module a subject; `eliza_site.api` mounts their routers."""
