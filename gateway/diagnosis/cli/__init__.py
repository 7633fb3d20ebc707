"""The commands of the diagnosis tools: options in, text or JSON out."""
