"""The engines under a project's tools: file search, web search, the browser, the sandbox."""
