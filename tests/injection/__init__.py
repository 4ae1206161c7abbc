"""Pages and documents that try to steer a model, and a model that lets itself be steered."""
